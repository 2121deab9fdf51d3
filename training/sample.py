"""Which rows are measured, and among which replies a model has to find the right one. The same ones in every run."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeVar

from training.rows import Row

T = TypeVar("T")

CANDIDATES = 20


def spread(items: Sequence[T], count: int) -> tuple[T, ...]:
    """Return `count` of the items in their order, one by chance of each of `count` equal stretches; all if fewer."""
    if count >= len(items):
        return tuple(items)
    chance = Random(0)  # noqa: S311  a choice of rows is no secret
    ends = [number * len(items) // count for number in range(count + 1)]
    return tuple(items[chance.randrange(start, end)] for start, end in pairwise(ends))


def choose_rows(rows: Sequence[Row], count: int) -> tuple[Row, ...]:
    """Return about `count` rows spread over the file; of persona-swap pairs both sides or none."""
    if not any(row.pair_id for row in rows):
        return spread(rows, count)
    chosen = set(spread(list(dict.fromkeys(row.pair_id for row in rows)), max(1, count // 2)))
    return tuple(row for row in rows if row.pair_id in chosen)


def candidates(row: Row, pool: Sequence[Row]) -> tuple[str, ...]:
    """Return 20 replies of which the last is the right one: the row's own, else references of other conversations.

    Those depend on the row and the pool alone. Empty when the pool has too few.
    """
    if len(row.candidates) > 1:
        return row.candidates
    others = dict.fromkeys(other.reference for other in pool if other.conv_id != row.conv_id)
    others.pop(row.reference, None)
    if len(others) < CANDIDATES - 1:
        return ()
    chance = Random(f"{row.conv_id}\n{row.reference}")  # noqa: S311
    return (*chance.sample(list(others), CANDIDATES - 1), row.reference)

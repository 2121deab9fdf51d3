"""How likely a system finds what was really said: perplexity, choosing among candidates, swapped personas."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from persona_chat.errors import AdapterRefused
from training import measures
from training.grounding import is_grounded
from training.measures import Measured
from training.prompting import Asked
from training.rows import Row
from training.sample import candidates
from training.scoring import Ids, Scored, Scorer
from training.systems import System

Told = Callable[[str, int, int], None]
"""Told what is being measured, how many are done, and of how many."""


@dataclass(frozen=True)
class _Reference:
    """A reference as the system finds it. `without` is its log-probability when the prompt has no persona."""

    conv_id: str
    grounded: bool
    tokens: int
    logp: float
    without: float


def measure_perplexity(system: System, asked: Sequence[Asked], told: Told, *, both: bool) -> dict[str, Measured]:
    """Measure the perplexity of the references, and of the grounded ones where there are any.

    `both` reads each prompt a second time, without its persona, and measures what the persona gains.
    """
    of = len(asked) * (2 if both else 1)

    def scored(prompts: Iterable[Ids], before: int) -> list[Scored]:
        pairs = [(prompt, one.reference) for prompt, one in zip(prompts, asked, strict=True)]
        scores = Scorer(system.model, system.base).score(pairs, lambda done: told("perplexity", before + done, of))
        return _finite(system, scores)

    given = scored((one.prompt for one in asked), 0)
    without = [one.logp for one in scored((one.without for one in asked), len(asked))] if both else [math.nan] * of
    references = [
        _Reference(one.row.conv_id, is_grounded(one.row.persona, one.row.reference), score.tokens, score.logp, other)
        for one, score, other in zip(asked, given, without, strict=True)
    ]
    grounded = [reference for reference in references if reference.grounded]
    found = {"perplexity": _perplexity(references)}
    if grounded:
        found["perplexity_grounded"] = _perplexity(grounded)
    if both:
        found["perplexity_without_persona"] = _perplexity(references, without=True)
        found["persona_gain"] = _gain(references)
        if grounded:
            found["persona_gain_grounded"] = _gain(grounded)
    return found


def measure_hits(
    system: System, asked: Sequence[Asked], pool: Sequence[Row], told: Told, *, by_gain: bool
) -> dict[str, Measured]:
    """Measure how often the right one of 20 candidates is first by log-probability a token.

    `by_gain` also orders them by how much of that the persona brought, and reads each prompt a second time. Rows
    without enough candidates do not count; nothing comes back when none has.
    """
    scorer = Scorer(system.model, system.base)
    choices = [(one, replies) for one in asked if (replies := candidates(one.row, pool))]
    hits: list[float] = []
    by_gain_hits: list[float] = []
    for done, (one, replies) in enumerate(choices, 1):
        completions = [system.prompting.completion(reply) for reply in replies]
        given = _finite(system, scorer.score_candidates(one.prompt, completions))
        hits.append(measures.last_is_best([score.mean for score in given]))
        if by_gain:
            without = _finite(system, scorer.score_candidates(one.without, completions))
            gains = [score.mean - other.mean for score, other in zip(given, without, strict=True)]
            by_gain_hits.append(measures.last_is_best(gains))
        told("hits", done, len(choices))
    if not choices:
        return {}
    groups = [one.row.conv_id for one, _ in choices]
    found = {"hits_at_1": measures.mean(groups, hits)}
    if by_gain:
        found["hits_at_1_by_gain"] = measures.mean(groups, by_gain_hits)
    return found


def measure_swap(system: System, asked: Sequence[Asked], told: Told) -> dict[str, Measured]:
    """Measure in how many pairs each persona's own reply fits it better than the other's; by chance it is half.

    Over both sides of a pair how likely the replies are in themselves cancels out. Nothing comes back when there are
    no pairs.
    """
    scorer = Scorer(system.model, system.base)
    by_pair = sorted((one for one in asked if one.row.pair_id), key=lambda one: one.row.pair_id)
    sides = [tuple(pair) for _, pair in groupby(by_pair, key=lambda one: one.row.pair_id)]
    pairs = [pair for pair in sides if len(pair) == 2]
    right: list[float] = []
    for done, (one, other) in enumerate(pairs, 1):
        difference = 0.0
        for side, swapped in ((one, other), (other, one)):
            replies = [side.reference, swapped.reference]
            own, wrong = _finite(system, scorer.score_candidates(side.prompt, replies))
            difference += own.logp - wrong.logp
        right.append(difference > 0)
        told("swap", done, len(pairs))
    return {"swap_accuracy": measures.mean([pair[0].row.pair_id for pair in pairs], right)} if pairs else {}


def _perplexity(references: Sequence[_Reference], *, without: bool = False) -> Measured:
    groups, tokens = [one.conv_id for one in references], [one.tokens for one in references]
    return measures.perplexity(groups, [one.without if without else one.logp for one in references], tokens)


def _gain(references: Sequence[_Reference]) -> Measured:
    groups, tokens = [one.conv_id for one in references], [one.tokens for one in references]
    return measures.gain(groups, [one.logp for one in references], [one.without for one in references], tokens)


def _finite(system: System, scored: list[Scored]) -> list[Scored]:
    if not all(math.isfinite(one.logp) for one in scored):
        raise AdapterRefused(f"{system.called} cannot be measured: what it computes is not finite.")
    return scored

"""Caches of what was read before, so that a next prompt goes on from them. Bounded in bytes, least recently used first.

All of them belong to one base, one adapter and one prompt form: whoever changes one of these clears it.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cache:
    """What a decoder keeps of these tokens; `size` is in bytes."""

    ids: tuple[int, ...]
    kept: Any
    size: int


class Kept:
    """Caches by owner: one each. `limit` is in bytes; what is larger alone is not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._caches: OrderedDict[Hashable, Cache] = OrderedDict()
        self.size = 0
        self.let_go = 0  # bytes, until somebody sets it back

    def __len__(self) -> int:
        """How many there are."""
        return len(self._caches)

    def put(self, owner: Hashable, cache: Cache) -> None:
        """Keep this one in place of the owner's last, and let go of the least recently used where it gets too much."""
        self._remove(owner)
        if cache.size > self._limit:
            return
        self._caches[owner] = cache
        self.size += cache.size
        while self.size > self._limit:
            self._remove(next(iter(self._caches)))

    def find(self, ids: tuple[int, ...]) -> tuple[Cache | None, int]:
        """Return the cache that shares the longest beginning with these tokens, and how many they share."""
        best, shared = None, 0
        for owner, cache in self._caches.items():
            if (common := common_start(cache.ids, ids)) > shared:
                best, shared = owner, common
        if best is None:
            return None, 0
        self._caches.move_to_end(best)
        return self._caches[best], shared

    def clear(self) -> None:
        """Let go of all."""
        self._caches.clear()
        self.size = 0

    def _remove(self, owner: Hashable) -> None:
        if (cache := self._caches.pop(owner, None)) is not None:
            self.size -= cache.size
            self.let_go += cache.size


def common_start(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # slices are compared much faster than tokens one by one
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

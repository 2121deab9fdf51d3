"""Several texts written at once by one decoder: rows join and leave between two tokens. For the model thread only."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from persona_chat.engine.again import begins_slot
from persona_chat.engine.draw import draw
from persona_chat.engine.head import Candidates
from persona_chat.engine.kept import Cache, Kept, common_start
from persona_chat.engine.memory import give_back, is_lost, is_shortage, trim
from persona_chat.engine.reply import Finish
from persona_chat.engine.row import Row
from persona_chat.errors import EngineFailed, EngineLost, trace

# A chunk of a prompt is read between two tokens of the rows that are being written. Half as much at a time would let
# those wait half as long for each token, and reading eight long prompts take a fifth longer: a token of each reply is
# written twice as often. Sums over more than 128 rows are added up in another order on some CPUs.
CHUNK = 128

_WORTH = 16  # a shorter common beginning is read again sooner than found and copied

HOLES = 32_000_000
"""Bytes of caches that were let go of, until their memory is given back. Each is of another size, so that new ones do
not fit into the holes of old ones: over 4,000 of them 128 MB of caches came to take 460 MB."""

_log = logging.getLogger(__name__)


class Reads(Protocol):
    """What a batch needs of a decoder. Slots are numbered from 0 and hold the cache of one text each."""

    @property
    def token_bytes(self) -> int:
        """The bytes that one token's cache takes."""
        ...

    def read(self, slot: int, ids: Sequence[int], start: int) -> Any:
        """Read tokens into a slot that holds `start`; return what `head` takes."""
        ...

    def step(self, ids: Sequence[int], lengths: Sequence[int], first: int = 0) -> Any:
        """Give each slot from `first` on one more token; return what `head` takes."""
        ...

    def head(self, hidden: Any, closed: Any = None) -> Candidates:
        """Return the likeliest next tokens of each row."""
        ...

    def keep(self, slot: int, tokens: int) -> Any:
        """Return a copy of a slot's first tokens."""
        ...

    def put(self, slot: int, kept: Any, tokens: int) -> None:
        """Put the first tokens of what `keep` returned into a slot."""
        ...

    def copy(self, source: int, slot: int, tokens: int) -> None:
        """Copy the first tokens of a slot into another."""
        ...


class Batch:
    """Rows that are read and written together. `most` may be in it at once.

    `closed` is the mask of tokens that no text may begin with, if any; `eos_ids` are those that end a text; `decode`
    gives the text of tokens.
    """

    def __init__(
        self,
        decoder: Reads,
        decode: Callable[[Sequence[int]], str],
        eos_ids: frozenset[int],
        closed: torch.Tensor | None,
        *,
        most: int,
        cache_bytes: int,
    ) -> None:
        self._decoder = decoder
        self._decode = decode
        self._eos_ids = eos_ids
        self._closed = closed
        self._most = most
        self._together = most  # halved when memory does not suffice
        self.kept = Kept(cache_bytes)
        self._writing: list[Row] = []  # by slot
        self._reading: Row | None = None  # in the slot behind them

    @property
    def rows(self) -> list[Row]:
        """Those that are written, and the one that is being read."""
        return [*self._writing, *([self._reading] if self._reading is not None else [])]

    @property
    def takes(self) -> bool:
        """Whether another row may be added: prompts are read one after the other."""
        return self._reading is None and len(self._writing) < self._most

    def add(self, row: Row) -> None:
        """Take a row in. Its cache goes on from the longest beginning that was read before."""
        row.slot = len(self._writing)
        self._reading = row

    def turn(self) -> list[Row]:
        """Read a chunk of the new row's prompt, write a token of each other row; return the rows that are over."""
        with torch.inference_mode():
            for row in self.rows:
                if row.limits.passed() or row.limits.stopped():
                    row.finish = Finish.DEADLINE
            over = self._leave()
            self._write(self._writing)
            if self._reading is not None:
                self._read(self._reading)
            return over + self._leave()

    def clear(self) -> None:
        """Forget what was read before: another adapter serves from here on."""
        self.kept.clear()

    def drop(self) -> None:
        """Let go of all rows."""
        self._writing, self._reading = [], None

    def _read(self, row: Row) -> None:
        """Read the next chunk of the row's prompt; where memory does not suffice, once more without the caches."""
        try:
            try:
                candidates = self._read_chunk(row)
            except Exception as error:
                if not is_shortage(error):
                    raise
                _log.warning("not enough memory to read a prompt; once more without caches")
                self._relieve()
                candidates = self._read_chunk(row)
        except Exception as error:
            self._fail([row], error)
            return
        if candidates is not None:
            self._next(row, *candidates.lists()[0])

    def _read_chunk(self, row: Row) -> Candidates | None:
        if not row.read:
            self._begin(row)
        chunk = row.prompt[row.read : row.read + CHUNK]
        hidden = self._decoder.read(row.slot, chunk, row.read)
        candidates = self._decoder.head(hidden, self._closed) if len(chunk) == row.unread else None
        row.read += len(chunk)
        return candidates

    def _begin(self, row: Row) -> None:
        """Put the longest beginning of its prompt that a cache or another row holds into the row's slot."""
        most = len(row.prompt) - 1  # one must be read to know what follows
        cache, kept = self.kept.find(row.prompt)
        beside = max(self._writing, key=lambda other: _shared(other, row), default=None)
        held = _shared(beside, row) if beside is not None else 0
        shared = min(most, max(kept, held))
        if shared >= _WORTH:
            if beside is not None and held > kept:
                self._decoder.copy(beside.slot, row.slot, shared)
            elif cache is not None:
                self._decoder.put(row.slot, cache.kept, shared)
            row.read = shared
        row.fresh = row.unread

    def _write(self, rows: Sequence[Row]) -> None:
        """Write one token of each."""
        waiting = list(rows)
        while waiting:
            those, waiting = waiting[: self._together], waiting[self._together :]
            try:
                candidates = self._step(those)
            except Exception as error:
                if is_shortage(error) and len(those) > 1:
                    self._together = max(1, len(those) // 2)
                    _log.warning("not enough memory for %d replies at once; %d from now on", len(those), self._together)
                    waiting = those + waiting
                    self._relieve()
                else:
                    self._fail(those, error)
                continue
            for row, one in zip(those, candidates.lists(), strict=True):
                self._next(row, *one)

    def _step(self, rows: Sequence[Row]) -> Candidates:
        ids = [row.written[-1] for row in rows]
        lengths = [len(row.prompt) + len(row.written) - 1 for row in rows]
        return self._decoder.head(self._decoder.step(ids, lengths, rows[0].slot))

    def _relieve(self) -> None:
        self.kept.clear()
        give_back()

    def _fail(self, rows: Sequence[Row], error: Exception) -> None:
        _log.error("%d of %d replies failed: %s", len(rows), len(self.rows), trace(error))
        for row in rows:
            row.failed = EngineLost() if is_lost(error) else EngineFailed()

    def _next(self, row: Row, ids: Sequence[int], logits: Sequence[float]) -> None:
        """Draw the row's next token, and see whether it ends there."""
        row.first_token_at = row.first_token_at or time.perf_counter()
        if not row.sampling.slots:
            ids, logits = self._without_slots(ids, logits)
        token = draw(ids, logits, row.written, row.sampling, row.rng)
        row.written.append(token)
        row.text = self._decode(row.written)
        if not row.sampling.whole and (token in self._eos_ids or row.ends(row.text)):
            row.finish = Finish.STOP
        elif len(row.written) >= row.sampling.max_new_tokens:
            row.finish = Finish.LENGTH
        elif row.grown is not None:
            row.grown(row.text)

    def _without_slots(self, ids: Sequence[int], logits: Sequence[float]) -> tuple[Sequence[int], Sequence[float]]:
        kept = [(one, logit) for one, logit in zip(ids, logits, strict=True) if not begins_slot(self._decode([one]))]
        return tuple(zip(*kept, strict=True)) if kept else (ids, logits)  # type: ignore[return-value]

    def _leave(self) -> list[Row]:
        """Take the rows that are over out, keep what was read of their prompts, and close the gaps."""
        over = [row for row in self.rows if row.over]
        for row in reversed(over):
            if row.failed is None and row.read >= _WORTH:
                self._keep(row)
            if row is self._reading:
                self._reading = None
                continue
            last = self._writing.pop()
            if last is not row:
                self._move(last, row.slot)
                self._writing[row.slot] = last
            if self._reading is not None:
                self._move(self._reading, len(self._writing))
        if self._reading is not None and not self._reading.unread:
            self._writing.append(self._reading)
            self._reading = None
        return over

    def _move(self, row: Row, slot: int) -> None:
        self._decoder.copy(row.slot, slot, row.read + max(0, len(row.written) - 1))
        row.slot = slot

    def _keep(self, row: Row) -> None:
        """Keep what was read of the prompt. What was written is read again: then a cache never changes a number."""
        size = row.read * self._decoder.token_bytes
        owner = row.owner if row.owner is not None else ("nobody", row.prompt[: row.read])
        try:
            self.kept.put(owner, Cache(row.prompt[: row.read], self._decoder.keep(row.slot, row.read), size))
        except Exception as error:  # a cache is no reply: the row is written
            _log.warning("what was read is not kept: %s", trace(error))
            self._relieve()
        if self.kept.let_go > HOLES:
            self.kept.let_go = 0
            trim()


def _shared(other: Row, row: Row) -> int:
    return common_start(other.prompt[: other.read], row.prompt)

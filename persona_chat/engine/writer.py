"""From a request to a reply, on the model thread: the prompt, the row that writes it, and what comes of it."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from persona_chat import template
from persona_chat.engine.again import another, worth_another_try
from persona_chat.engine.line import Asked
from persona_chat.engine.reply import Finish, Reply, ReplyRequest, Sampling
from persona_chat.engine.row import Limits, Row
from persona_chat.errors import EngineFailed, PersonaChatError, ReplyTimeout

if TYPE_CHECKING:
    from persona_chat.engine.loaded import Loaded

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Job:
    """A reply that is asked for. `grown` is told what can be shown of it, on the awaiter's event loop.

    `asked` is in time.perf_counter() seconds.
    """

    request: ReplyRequest
    limits: Limits
    grown: Callable[[str], None] | None = None
    asked: float = field(default_factory=time.perf_counter)

    def check(self) -> None:
        """Raise when the reply is not wanted any more, or the deadline has passed."""
        if self.limits.stopped():
            raise EngineFailed
        if self.limits.passed():
            raise ReplyTimeout(self.request.deadline_s)


@dataclass(eq=False)
class _Begun:
    """A job that is being written by its row; `turns` are in the window. `first` is the row of the first try."""

    asked: Asked[Job]
    started: float
    turns: int
    first: Row
    row: Row


class Writer:
    """Writes replies with what is loaded, several at once. See `thread.Work`."""

    def __init__(self, fit: Callable[[ReplyRequest], tuple[tuple[int, ...], int]]) -> None:
        """Begin with nothing loaded. `fit` gives the tokens of a request's prompt, and how many turns are in it."""
        self._fit = fit
        self._begun: list[_Begun] = []
        self._again: deque[_Begun] = deque()
        self.loaded: Loaded | None = None

    def served(self) -> Mapping[object, int]:
        """Return how many replies of each channel are being written."""
        return Counter(begun.asked.owner for begun in list(self._begun))

    def takes(self) -> bool:
        """Whether another reply may begin."""
        return self.loaded is None or (self.loaded.batch.takes and not self._again)

    def begin(self, asked: Asked[Job]) -> None:
        """Begin with a reply."""
        if asked.promise.future.cancelled():
            return
        try:
            asked.job.check()
            self._begin(asked)
        except Exception as error:  # of this one; the awaiter logs what was not foreseen
            asked.promise.fail(error)

    def turn(self) -> None:
        """Write one token of each reply, and give those away that are done."""
        if self.loaded is None:
            return
        if self._again and self.loaded.batch.takes:
            self.loaded.batch.add(self._again.popleft().row)
        over = set(map(id, self.loaded.batch.turn()))
        for begun in [one for one in self._begun if id(one.row) in over]:
            try:
                self._finish(begun)
            except PersonaChatError as error:
                self._begun.remove(begun)
                begun.asked.promise.fail(error)

    def break_all(self) -> None:
        """Fail all that are being written."""
        begun, self._begun = self._begun, []
        self._again.clear()
        if self.loaded is not None:
            self.loaded.batch.drop()
        for one in begun:
            one.asked.promise.fail(EngineFailed())

    def _begin(self, asked: Asked[Job]) -> None:
        if self.loaded is None:  # start() failed
            raise EngineFailed
        job, started = asked.job, time.perf_counter()
        prompt, turns = self._fit(job.request)
        row = _row(asked, prompt, job.request.sampling)
        self._begun.append(_Begun(asked, started, turns, row, row))
        self.loaded.batch.add(row)

    def _finish(self, begun: _Begun) -> None:
        row, job = begun.row, begun.asked.job
        if row.failed is not None:
            raise row.failed
        text = template.read_reply(row.text)
        poor = row is begun.first and not row.sampling.whole and worth_another_try(text)
        if row.limits.stopped() or not text or poor:
            job.check()
            if row is not begun.first:
                raise EngineFailed
            begun.row = _row(begun.asked, row.prompt, another(row.sampling))
            self._again.append(begun)
            return
        self._begun.remove(begun)
        begun.asked.promise.keep(self._reply(begun, text))

    def _reply(self, begun: _Begun, text: str) -> Reply:
        row, now = begun.row, time.perf_counter()
        reply = Reply(
            text=text,
            finish=row.finish or Finish.STOP,
            turns=begun.turns,
            prompt_tokens=len(row.prompt),
            reply_tokens=len(row.written),
            waited_s=begun.started - begun.asked.job.asked,
            first_token_s=begun.first.first_token_at - begun.started,
            total_s=now - begun.started,
            adapter=self.loaded.adapter_name if self.loaded is not None else None,
            read_tokens=row.fresh,
        )
        _log.info(
            "%d + %d tokens, %d of them read before, in %.2f s",
            reply.prompt_tokens,
            reply.reply_tokens,
            reply.prompt_tokens - reply.read_tokens,
            reply.total_s,
        )
        return reply


def _row(asked: Asked[Job], prompt: tuple[int, ...], sampling: Sampling) -> Row:
    grown: Callable[[str], None] | None = None
    if (told := asked.job.grown) is not None:

        def grown(completion: str) -> None:
            if text := template.shown(completion):
                asked.promise.tell(lambda: told(text))

    return Row(prompt, sampling, asked.job.limits, template.ends_reply, owner=asked.owner, grown=grown)

"""A scripted engine that notes how the process around it does: how late its event loop is, how much it was asked."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

from persona_chat.engine.reply import EngineFacts, Follow, Reply, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine

EVERY_S = 0.01
KEPT_EVERY_S = 0.25
SCHEDULED = Path("/proc/thread-self/schedstat")


class NotingEngine(ScriptedEngine):
    """Writes a line of JSON to a file every quarter of a second, and one when it is closed.

    A line says how many replies were `asked` for so far, and how many milliseconds `late` the event loop was since the
    line before: by each tick of 10 ms that there should have been, so that a long standstill counts for as many. What
    it was late because other processes had the cores is not counted there, but in `late_by_all`.
    """

    def __init__(self, replies: Callable[[ReplyRequest], str | Exception], file: Path, *, delay_s: float) -> None:
        super().__init__(replies, delay_s=delay_s)
        self._file = file
        self._asked = 0
        self._late: list[float] = []
        self._late_by_all: list[float] = []
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> EngineFacts:
        self._ticking = asyncio.create_task(self._tick())
        return await super().start()

    async def reply(self, request: ReplyRequest, _follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        self._asked += 1
        try:
            return await super().reply(request)
        finally:
            self.requests.clear()  # or they would grow for as long as the process lives

    async def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
            self._keep()
        await super().close()

    async def _tick(self) -> None:
        kept_at = time.perf_counter()
        while True:
            began, kept_off = time.perf_counter(), _kept_off_s()
            await asyncio.sleep(EVERY_S)
            now = time.perf_counter()
            late = now - began - EVERY_S
            self._late_by_all += _ticks(late)
            self._late += _ticks(late - (_kept_off_s() - kept_off))
            if now - kept_at > KEPT_EVERY_S:
                kept_at = now
                self._keep()

    def _keep(self) -> None:
        note = {"asked": self._asked, "late": self._late, "late_by_all": self._late_by_all}
        self._late, self._late_by_all = [], []
        with self._file.open("a") as file:
            file.write(json.dumps(note) + "\n")


def _ticks(late: float) -> list[float]:
    """How many milliseconds late each tick was, if one was that many seconds late."""
    missed = max(0, int(late / EVERY_S))
    return [round(max(0.0, late - number * EVERY_S) * 1000, 1) for number in range(missed + 1)]


def _kept_off_s() -> float:
    """How long this thread could have run and had no core, since it began; 0 where the system does not say."""
    try:
        return int(SCHEDULED.read_text().split()[1]) / 1e9
    except OSError:
        return 0.0

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


class NotingEngine(ScriptedEngine):
    """Writes a line of JSON to a file every quarter of a second, and one when it is closed.

    A line says how many replies were `asked` for so far, and how many milliseconds `late` the event loop was since the
    line before: by each tick of 10 ms that there should have been, so that a long standstill counts for as many.
    """

    def __init__(self, replies: Callable[[ReplyRequest], str | Exception], file: Path, *, delay_s: float) -> None:
        super().__init__(replies, delay_s=delay_s)
        self._file = file
        self._asked = 0
        self._late: list[float] = []
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
            began = time.perf_counter()
            await asyncio.sleep(EVERY_S)
            now = time.perf_counter()
            late = now - began - EVERY_S
            self._late.append(late)
            while (late := late - EVERY_S) > 0:
                self._late.append(late)
            if now - kept_at > KEPT_EVERY_S:
                kept_at = now
                self._keep()

    def _keep(self) -> None:
        late, self._late = self._late, []
        with self._file.open("a") as file:
            file.write(json.dumps({"asked": self._asked, "late": [round(one * 1000, 1) for one in late]}) + "\n")

"""What is being answered now, and how a stop ends it: finished, or left for the next start."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

log = logging.getLogger(__name__)

FINISH_S = 5.0
"""So long a stop waits for the answers that are under way."""

CANCEL_S = 1.0


class Drain:
    """Knows the tasks that answer something. `stopping` is for whoever would begin with something new."""

    def __init__(self) -> None:
        self.stopping = False
        self._tasks = Counter[asyncio.Task[Any]]()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have the current task answer something inside the block."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._tasks[task] -= 1
            if not self._tasks[task]:
                del self._tasks[task]
            if not self._tasks:
                self._empty.set()

    async def settled(self, within_s: float) -> None:
        """Wait until nothing is being answered, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)

    async def end(self) -> None:
        """Let what is under way be finished, and cut off what takes too long: the inbox has it for the next start.

        A cancelled task says nothing to anybody and decides nothing: what it had claimed stays claimed.
        """
        self.stopping = True
        await self.settled(FINISH_S)
        if left := tuple(self._tasks):
            log.info("%d answers are left for the next start", len(left))
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=CANCEL_S)

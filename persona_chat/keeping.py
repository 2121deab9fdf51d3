"""What must be written or read: of many callers at once, and once the database is there again. Knows no table."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

from persona_chat.inbox import TOO_OLD
from persona_chat.store.database import AWAY
from persona_chat.store.store import Store
from persona_chat.store.transactions import Outcome

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Between two tries; each of them waits for the lock of SQLite besides."""


class Keeping:
    """Runs verbs of the store in threads: those that write one after the other, and beside them those that read."""

    def __init__(self, store: Store) -> None:
        self._writers = _Line(store.writing.together)
        self._readers = _Line(store.reading.together)

    async def kept(self, verb: Callable[P, T], *given: P.args, **more: P.kwargs) -> T:
        """Run a verb of the store that writes, as `patiently` does."""
        return await patiently(lambda: self._writers.run(partial(verb, *given, **more)))

    async def read(self, verb: Callable[P, T], *given: P.args, **more: P.kwargs) -> T:
        """Run a verb of the store that only reads. Raises what it raises, and what the database does."""
        return await self._readers.run(partial(verb, *given, **more))


class _Line:
    """Runs one verb after the other. What comes meanwhile is run together after it.

    Alone a verb is one transaction; beside fifty others it is a fiftieth of one, and of a thread's work.
    """

    def __init__(self, together: Callable[[Sequence[Callable[[], Any]]], list[Outcome]]) -> None:
        self._together = together
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._under_way = False
        self._task: asyncio.Task[None] | None = None

    async def run(self, verb: Callable[[], T]) -> T:
        if self._under_way:
            done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._waiting.append((verb, done))
            return await done
        self._under_way = True
        try:
            return await asyncio.to_thread(verb)
        finally:
            self._next()

    def _next(self) -> None:
        """Begin with those that came meanwhile, if any still wait."""
        self._waiting = [(verb, done) for verb, done in self._waiting if not done.done()]
        self._under_way = bool(self._waiting)
        if self._under_way:
            self._task = asyncio.create_task(self._run_together())

    async def _run_together(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            outcomes = await asyncio.to_thread(self._together, [verb for verb, _done in batch])
            for (_verb, done), outcome in zip(batch, outcomes, strict=True):
                _end(done, outcome)
        except Exception as error:  # there is no thread any more
            for _verb, done in batch:
                _end(done, Outcome(error=error))
        finally:
            for _verb, done in batch:  # where the event loop ends nobody waits for ever
                done.cancel()
            self._next()


async def patiently(act: Callable[[], Awaitable[T]]) -> T:
    """Do it; while the database is locked, full or gone, again and again.

    SQLite can be read all the while, a server cannot. Raises what `act` does, and what the database does when that took
    longer than anybody waits for an answer.
    """
    since, said = time.monotonic(), False
    while True:
        try:
            return await act()
        except AWAY as error:
            if time.monotonic() - since > TOO_OLD.total_seconds():
                raise
            if not said:
                log.warning("the database takes nothing, which is tried again: %s", type(error).__name__)
            said = True
        await asyncio.sleep(PAUSE_S)


def _end(done: asyncio.Future[Any], outcome: Outcome) -> None:
    if done.done():  # its caller was cancelled
        return
    if outcome.error is not None:
        done.set_exception(outcome.error)
    else:
        done.set_result(outcome.value)

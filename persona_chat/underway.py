"""The messages that are being answered or wait for it, by Discord's ids, and how that is ended. Knows no store."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from persona_chat.engine.reply import Reply, Wait
from persona_chat.errors import EngineBusy
from persona_chat.place import Place


@dataclass(eq=False)
class Begun:
    """A message that is being answered, or waits for its turn. `events` are how many handlers have it.

    From `in_turn` on something of it may be kept, until it is `over`.
    """

    place: Place
    events: int = 0
    in_turn: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Reply] | None = None
    stopped: bool = False
    keep: bool = False

    @property
    def taken_back(self) -> bool:
        """Whether nobody wants its reply any more, nor what there is of it."""
        return self.stopped and not self.keep

    def stop(self, *, keep: bool) -> None:
        """End its reply within one step. With `keep` what is there of it is the reply."""
        self.stopped, self.keep = True, keep
        if self.task is not None:
            self.task.cancel()


class UnderWay:
    """All that was begun and is not over."""

    def __init__(self) -> None:
        self._begun: dict[int, Begun] = {}

    @contextmanager
    def begun(self, message_id: int, place: Place) -> Iterator[Begun]:
        """Have the message, perhaps with other handlers of the same one, until the block ends."""
        begun = self._begun.setdefault(message_id, Begun(place))
        begun.events += 1
        try:
            yield begun
        finally:
            begun.events -= 1
            if not begun.events:
                del self._begun[message_id]
                begun.over.set()

    def stop(self, message_id: int, *, keep: bool) -> bool:
        """End the reply to a message; whether there was one to end."""
        begun = self._begun.get(message_id)
        if begun is None or begun.taken_back or (begun.stopped and keep):
            return False
        begun.stop(keep=keep)
        return True

    async def stop_where(self, there: Callable[[Place], bool]) -> None:
        """End the replies to all messages that were said there, and wait until nothing more of them is kept."""
        found = [begun for begun in self._begun.values() if there(begun.place)]
        for begun in found:
            begun.stop(keep=False)
        for begun in found:
            if begun.in_turn:
                await begun.over.wait()


class Turns:
    """Whose turn it is in each channel: one after the other. Channels do not wait for each other."""

    def __init__(self, most: int, wait: Wait) -> None:
        self._most = most
        self._wait = wait
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[int] = Counter()

    @property
    def waiting(self) -> int:
        """How many have their turn, or wait for it."""
        return sum(self._waiting.values())

    @asynccontextmanager
    async def of(self, channel_id: int) -> AsyncIterator[None]:
        """Wait for the channel's earlier ones; EngineBusy when too many of them wait already."""
        if self._waiting[channel_id] >= self._most:
            raise EngineBusy
        lock = self._locks.setdefault(channel_id, asyncio.Lock())
        self._waiting[channel_id] += 1
        try:
            await self._wait(lock.acquire())
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[channel_id] -= 1
            if not self._waiting[channel_id]:
                del self._waiting[channel_id]

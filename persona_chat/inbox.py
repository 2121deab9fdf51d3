"""What came in while nobody listened, and what a crash left: found again, or let go of when it is too old.

Knows the store; knows no Discord and no SQL.
"""

import asyncio
import logging
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from persona_chat.store.answers import NEWEST
from persona_chat.store.inbox import Left
from persona_chat.store.store import Store

log = logging.getLogger(__name__)

TOO_OLD = timedelta(minutes=10)
"""An answer later than that is to something people have left behind."""

EXPIRED = "Expired"

MARK_EVERY_S = 1.0

REMEMBERED = 5000
"""Of so many messages it is remembered that they were heard: Discord gives some again when a connection is resumed."""

CHANNELS = 200
"""In so many channels it is looked what was said meanwhile: those where somebody talked to us last."""

TALKED_WITHIN = timedelta(days=7)


@dataclass(eq=False)
class Hearing:
    """A message that is being looked at: whether it is for the `first` time, and whether it is `for_us`."""

    first: bool
    for_us: bool = False


class Inbox:
    """Up to where each channel was heard, and what is not over.

    How old a message is goes by its id, in which Discord counts by its own clock: that of this machine may jump. A mark
    is the newest message of a channel up to which nothing is open: where a later one is done before an earlier one, it
    waits for that. While a channel is on hold, because it is not known what was said there meanwhile, its mark stands
    still.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: defaultdict[int, set[int]] = defaultdict(set)
        self._newest: dict[int, int] = {}
        self._held: set[int] = set()
        self._moved: set[int] = set()
        self._kept: dict[int, int] = {}
        self._seen: OrderedDict[int, None] = OrderedDict()
        self._again: set[int] = set()

    async def start(self) -> None:
        """Read up to where channels were heard. Call once, before anything is heard."""
        self._kept = await asyncio.to_thread(self._store.inbox.marks)
        self.hold()

    async def left(self, oldest: int) -> tuple[Left, ...]:
        """Return what an earlier process left that is not over, the oldest first; let go of what is before `oldest`.

        And let go of the marks of channels in which nobody looks any more what was said there meanwhile.
        """
        if expired := await asyncio.to_thread(self._store.inbox.expire, oldest, EXPIRED):
            log.info("%d messages are too old to be answered now", expired)
        await asyncio.to_thread(self._store.inbox.forget_marks, datetime.now(UTC) - TALKED_WITHIN)
        left = await asyncio.to_thread(self._store.inbox.left, oldest)
        return tuple(one for one in left if one.message_id not in self._seen)  # this process answers those

    def mark(self, channel_id: int) -> int:
        """Return up to which message a channel was heard, as it is kept; 0 where none was yet."""
        return self._kept.get(channel_id, 0)

    @contextmanager
    def hearing(self, channel_id: int, message_id: int) -> Iterator[Hearing]:
        """Have a message open inside the block; after it, it was answered, or is for nobody."""
        hearing = Hearing(first=message_id not in self._seen)
        self._seen[message_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if hearing.first:
            self.expect(channel_id, (message_id,))
        try:
            yield hearing
        finally:
            if hearing.first:
                self._open[channel_id].discard(message_id)
            if hearing.for_us:
                self._newest[channel_id] = max(message_id, self._newest.get(channel_id, 0))
                self._moved.add(channel_id)

    def expect(self, channel_id: int, message_ids: Iterable[int]) -> None:
        """Have messages open from now on, until they are heard."""
        self._open[channel_id].update(message_ids)

    def hold(self) -> None:
        """Keep each mark where it is until its channel is released: it is not known what was said there meanwhile."""
        self._held.update(self._kept)

    def hold_only(self, channel_ids: Iterable[int]) -> None:
        """Let the marks of all other channels move again: nobody looks there."""
        self._held.intersection_update(channel_ids)

    def release(self, channel_id: int) -> None:
        """Let the mark of a channel move again: it is known what was said there."""
        self._held.discard(channel_id)

    async def keep_marks(self) -> None:
        """Keep the marks that moved."""
        moved = {one: self._mark(one) for one in self._moved - self._held}
        self._moved -= moved.keys()
        news = {one: upto for one, upto in moved.items() if upto > self._kept.get(one, 0)}
        if news:
            await asyncio.to_thread(self._store.inbox.mark, news)
            self._kept |= news

    @asynccontextmanager
    async def keeping_marks(self) -> AsyncIterator[None]:
        """Keep marks again and again inside the block, and at its end."""
        task = asyncio.create_task(self._keep_again())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))
            await self.keep_marks()

    def try_again(self, message_id: int) -> None:
        """Have a message open whose reply could not be sent."""
        self._again.add(message_id)

    async def open_again(self, oldest: int) -> tuple[Left, ...]:
        """Return what is to be tried again and not before `oldest`, the oldest first: each once."""
        message_ids, self._again = tuple(self._again), set()
        if not message_ids:
            return ()
        try:
            return await asyncio.to_thread(self._store.inbox.left, oldest, message_ids)
        except Exception:
            self._again.update(message_ids)
            raise

    async def noted(self, sent_ids: Sequence[int]) -> set[int]:
        """Return which of these messages are known to be a part of a reply."""
        return await asyncio.to_thread(self._store.inbox.noted, sent_ids)

    async def known(self, message_ids: Sequence[int]) -> set[int]:
        """Return which of these messages were taken to be answered already."""
        return await asyncio.to_thread(self._store.inbox.known, message_ids)

    async def channels(self) -> tuple[int, ...]:
        """Return the channels where somebody talked to us, the latest first."""
        return await asyncio.to_thread(self._store.inbox.talked_in, TALKED_WITHIN, datetime.now(UTC), CHANNELS)

    async def refuse(self, message_id: int, reason: str) -> None:
        """Note why a claimed message gets no answer, in a short code."""
        await asyncio.to_thread(self._store.refuse, message_id, reason)

    def _mark(self, channel_id: int) -> int:
        still_open = self._open[channel_id]
        return min(min(still_open, default=NEWEST) - 1, self._newest[channel_id])

    async def _keep_again(self) -> None:
        while True:
            await asyncio.sleep(MARK_EVERY_S)
            try:
                await self.keep_marks()
            except Exception as error:
                log.warning("marks could not be kept: %s", type(error).__name__)

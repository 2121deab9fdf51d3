"""What happened while the bot was away: messages that a crash left, and those that nobody heard. Both are answered."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord

from bot import text
from bot.answering import Answering
from bot.faults import DISCORD_FAULTS, may_pass
from bot.places import channel_at
from persona_chat.errors import Stopped, trace
from persona_chat.inbox import TOO_OLD, Inbox
from persona_chat.store.inbox import Left

if TYPE_CHECKING:
    from bot.client import PersonaBot

log = logging.getLogger(__name__)

READ = 500
"""So many messages of a channel are read, the newest. After some crashes in a row most of them are answered already."""

MOST = 100
"""So many of those that nobody took are heard, the newest: to more it is too late to answer."""


AGAIN_EVERY_S = 10.0
"""How often it is looked whether there is something that Discord did not take, and that it may take now."""


class Meanwhile:
    """Looks for it, one channel after the other."""

    def __init__(self, client: "PersonaBot", inbox: Inbox, answering: Answering) -> None:
        self._client = client
        self._inbox = inbox
        self._answering = answering
        self._hearing: set[asyncio.Task[None]] = set()
        self._unread: dict[int, None] = {}
        self._took_over = self._failed = False

    async def look(self) -> None:
        """Answer what was left, once a process, and hear what was said meanwhile. What fails is looked at again."""
        self._failed = False
        try:
            for one in await self._left():
                await self._finish(one)
            channels = await self._inbox.channels()
        except Exception:  # the database cannot be read or written
            self._failed = True
            raise
        self._inbox.hold_only(channels)
        self._unread = dict.fromkeys(channels)
        await self._read()
        log.info("heard what was said meanwhile")

    async def _left(self) -> Sequence[Left]:
        """Return what an earlier process left, once."""
        if self._took_over:
            return ()
        self._took_over = True
        try:
            return await self._inbox.left(self._oldest())
        except Exception:
            self._took_over = False
            raise

    @asynccontextmanager
    async def looking_again(self) -> AsyncIterator[None]:
        """Take up, inside the block, what Discord did not take or did not let us read."""
        task = asyncio.create_task(self._look_again())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(AGAIN_EVERY_S)
            if self._client.drain.stopping or not self._client.connected:
                continue
            try:
                if self._failed:
                    await self.look()
                await self._send_again()
                await self._read()
            except Exception as error:
                log.error("what is still open could not be looked at: %s", trace(error))

    def _oldest(self) -> int:
        """The id of the oldest message that is not too old to be answered, by Discord's clock."""
        return discord.utils.time_snowflake(self._client.clock.now() - TOO_OLD)

    async def _send_again(self) -> None:
        """Send what was not sent: a channel's in order, and channels beside each other."""
        channels: defaultdict[int, list[Left]] = defaultdict(list)
        for one in await self._inbox.open_again(self._oldest()):
            if not self._client.outgoing.left_alone(one.channel_id):
                channels[one.channel_id].append(one)

        async def finish(left: Sequence[Left]) -> None:
            for one in left:
                await self._finish(one)

        await asyncio.gather(*(finish(left) for left in channels.values()))

    async def _read(self) -> None:
        """Hear what was said in the channels that are still to be read."""
        for channel_id in tuple(self._unread):
            try:
                await self._catch_up(channel_id)
                self._unread.pop(channel_id, None)
            except DISCORD_FAULTS as error:
                log.warning("channel %s could not be read: %s", channel_id, type(error).__name__)

    async def _catch_up(self, channel_id: int) -> None:
        """Hear what was said in a channel since its mark. Its mark moves again when that is known."""
        after = discord.Object(self._inbox.mark(channel_id))
        try:
            channel = await channel_at(self._client, channel_id)
            if not self._client.holds(channel):
                return
            newest = [one async for one in channel.history(limit=READ, after=after, oldest_first=False)]
        except (discord.NotFound, discord.Forbidden):
            newest = []  # it is gone, or not ours to read
        oldest = self._oldest()  # only now: the answers say what time it is
        said = [one for one in newest if text.from_person(one) and one.id >= oldest]
        known = await self._inbox.known([one.id for one in said])
        missed = [one for one in said if one.id not in known][:MOST][::-1]
        self._inbox.expect(channel_id, [one.id for one in missed])
        if missed:
            hearing = asyncio.create_task(self._hear(missed))
            self._hearing.add(hearing)
            hearing.add_done_callback(self._hearing.discard)
        self._inbox.release(channel_id)

    async def _hear(self, missed: Sequence[discord.Message]) -> None:
        """Hear one after the other: more at once than a channel's line holds would be sent away."""
        for message in missed:
            if self._client.drain.stopping:
                return  # the next start finds it
            try:
                await self._client.on_message(message)
            except Exception as error:
                log.error("message %s could not be heard: %s", message.id, trace(error))

    async def _finish(self, left: Left) -> None:
        """Answer a message that was claimed, or send what is missing of its reply. What fails may be tried again."""
        try:
            with self._client.drain.under_way():
                await self._finish_now(left)
        except DISCORD_FAULTS as error:
            log.warning("message %s could not be taken up: %s", left.message_id, type(error).__name__)
            if may_pass(error):
                self._inbox.try_again(left.message_id)
        except Exception as error:  # a full line, a database that is away
            log.error("message %s could not be taken up: %s", left.message_id, trace(error))
            self._inbox.try_again(left.message_id)

    async def _finish_now(self, left: Left) -> None:
        parts = [] if left.reply is None or left.persona is None else text.parts(left.reply, left.persona.name)
        if left.reply is not None and len(left.sent) >= len(parts):
            return
        try:
            channel = await channel_at(self._client, left.channel_id)
            if not self._client.holds(channel):
                return  # another process does, and may be answering it just now
            message = await channel.fetch_message(left.message_id)
        except (discord.NotFound, discord.Forbidden):
            await self._inbox.refuse(left.message_id, Stopped.__name__)
            return
        ours = await self._ours_after(channel, message)
        me = self._client.user
        if left.reply is None and me is not None:
            heard = replace(text.heard(message, me), text=left.text)
            await self._answering.take_up(message, heard, draft=_draft_of(ours, message))
        elif left.reply is not None:
            await self._answering.send_rest(message, left, parts, _sent_already(ours, message, parts, left.sent))

    async def _ours_after(self, channel: Any, message: discord.Message) -> list[discord.Message]:
        """What we said since then, but for what is known to be another reply."""
        me = self._client.user
        ours = [
            one
            async for one in channel.history(limit=MOST, after=message, oldest_first=True)
            if (me is not None and one.author.id == me.id) or self._client.faces.is_ours(one)
        ]
        noted = await self._inbox.noted([one.id for one in ours])
        return [one for one in ours if one.id not in noted]


def _draft_of(ours: list[discord.Message], message: discord.Message) -> int | None:
    """The message in which the reply was shown while it was written, if that is still there."""
    return next((one.id for one in ours if text.goes_on(one.content) and _may_answer(one, message)), None)


def _sent_already(
    ours: list[discord.Message], message: discord.Message, parts: list[str], sent: Mapping[int, int]
) -> dict[int, int]:
    """Return the ids of the messages that parts went out as, without it being noted, by the number of the part.

    Of the first part also a draft counts: it is edited to say the whole.
    """
    found: dict[int, int] = {}
    taken = set(sent.values())
    for number, part in enumerate(parts):
        if number in sent:
            continue
        for one in ours:
            draft = number == 0 and text.goes_on(one.content) and _may_answer(one, message)
            if one.id not in taken and (
                draft or (one.content.endswith(part) and (number or _may_answer(one, message)))
            ):
                found[number] = one.id
                taken.add(one.id)
                break
    return found


def _may_answer(one: discord.Message, message: discord.Message) -> bool:
    """Whether it replies to the message; what a webhook says cannot show that."""
    return one.webhook_id is not None or (one.reference is not None and one.reference.message_id == message.id)

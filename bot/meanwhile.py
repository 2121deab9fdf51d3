"""What happened while the bot was away: messages that a crash left, and those that nobody heard. Both are answered."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord

from bot import text
from bot.answering import Answering
from bot.draft import GOES_ON
from bot.faults import DISCORD_FAULTS
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


class Meanwhile:
    """Looks for it, one channel after the other."""

    def __init__(self, client: "PersonaBot", inbox: Inbox, answering: Answering) -> None:
        self._client = client
        self._inbox = inbox
        self._answering = answering
        self._hearing: set[asyncio.Task[None]] = set()

    async def look(self) -> None:
        """Answer what was left, once a process, and hear what was said meanwhile. Discord's faults leave the rest."""
        left, self._inbox.left = self._inbox.left, ()
        for one in left:
            try:
                await self._finish(one)
            except DISCORD_FAULTS as error:
                log.warning("message %s could not be taken up: %s", one.message_id, type(error).__name__)
        channels = await self._inbox.channels()
        self._inbox.hold_only(channels)
        for channel_id in channels:
            try:
                await self._catch_up(channel_id)
            except DISCORD_FAULTS as error:
                log.warning("channel %s could not be read: %s", channel_id, type(error).__name__)
        log.info("heard what was said meanwhile")

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
        # Only now: the answers say what time it is.
        oldest = self._client.clock.now() - TOO_OLD
        said = [one for one in newest if text.from_person(one) and one.created_at > oldest]
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
            try:
                await self._client.on_message(message)
            except Exception as error:
                log.error("message %s could not be heard: %s", message.id, trace(error))

    async def _finish(self, left: Left) -> None:
        """Answer a message that was claimed, or send what is missing of its reply."""
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
        me = self._client.user
        return [
            one
            async for one in channel.history(limit=MOST, after=message, oldest_first=True)
            if (me is not None and one.author.id == me.id) or self._client.faces.is_ours(one)
        ]


def _draft_of(ours: list[discord.Message], message: discord.Message) -> int | None:
    """The message in which the reply was shown while it was written, if that is still there."""
    return next((one.id for one in ours if one.content.endswith(GOES_ON) and _may_answer(one, message)), None)


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
            draft = number == 0 and one.content.endswith(GOES_ON) and _may_answer(one, message)
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

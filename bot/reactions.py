"""What a reaction to a reply asks for: ❌ takes it away, ❓ tells who is behind it, 👍 and 👎 judge it.

Events only, no cache.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import discord

from bot.answered import Answered
from bot.faces import Faces
from bot.faults import DISCORD_FAULTS
from bot.feedback import thumb_of
from bot.places import age_restricted, channel_at, parent_of
from bot.portrait import AI, called
from persona_chat.cast import Cast
from persona_chat.errors import InputError
from persona_chat.feedback import Feedback
from persona_chat.language import _
from persona_chat.place import Place, Scope
from persona_chat.rework import Rework
from persona_chat.store.answers import Answer
from persona_chat.store.feedback import Thumb
from persona_chat.store.seating import Seated

log = logging.getLogger(__name__)

DELETE, ASK = "❌", "❓"


class Reactions:
    """Does what a person's reaction asks for. A reaction to anything else, or by who may not, is only a reaction."""

    def __init__(
        self,
        client: discord.Client,
        cast: Cast,
        rework: Rework,
        faces: Faces,
        answered: Answered,
        feedback: Feedback,
    ) -> None:
        self._client = client
        self._cast = cast
        self._rework = rework
        self._faces = faces
        self._answered = answered
        self._feedback = feedback
        self._judging = asyncio.Lock()  # taken in the order of the events: of a person's verdicts the newest counts

    async def added(self, event: discord.RawReactionActionEvent) -> None:
        """Look at a reaction that somebody added."""
        me, by_bot = self._client.user, event.member is not None and event.member.bot
        if me is None or event.user_id == me.id or by_bot:
            return
        if thumb := thumb_of(str(event.emoji)):
            await self._judge(event, thumb)
            return
        if str(event.emoji) not in (DELETE, ASK):
            return
        answer = await self._rework.sent_as(event.message_id)
        try:
            if str(event.emoji) == ASK:
                await self._ask(event, answer, me)
            elif answer is not None:
                await self._delete(event, answer)
        except DISCORD_FAULTS as error:
            log.info("a reaction to message %s came to nothing: %s", event.message_id, type(error).__name__)

    async def removed(self, event: discord.RawReactionActionEvent) -> None:
        """Look at a reaction that is taken away: the verdict goes with it."""
        if thumb := thumb_of(str(event.emoji)):
            async with self._judging:
                answer = await self._rework.sent_as(event.message_id)
                if answer is not None:
                    await self._feedback.take_back(answer.message_id, event.user_id, thumb)

    async def _judge(self, event: discord.RawReactionActionEvent, thumb: Thumb) -> None:
        """Keep the verdict on what the reply says now. Who opted out reacts, and nothing is kept."""
        async with self._judging:
            answer = await self._rework.sent_as(event.message_id)
            if answer is not None:
                with suppress(InputError):
                    await self._feedback.judge(answer.message_id, answer.shown, event.user_id, thumb)

    async def _delete(self, event: discord.RawReactionActionEvent, answer: Answer) -> None:
        """Take the reply away, for who asked and for moderators."""
        if event.user_id != answer.asker_id:
            channel = await channel_at(self._client, event.channel_id)
            if event.member is None or not channel.permissions_for(event.member).manage_messages:
                return
        await self._answered.take_away(event.message_id)

    async def _ask(self, event: discord.RawReactionActionEvent, answer: Answer | None, me: discord.ClientUser) -> None:
        """Tell who reacted, by direct message, and take the reaction back where that may be, for the next time."""
        if answer is None and not self._faces.knows(event.message_author_id):
            return
        channel = await channel_at(self._client, event.channel_id)
        person = event.member or await self._client.fetch_user(event.user_id)
        if answer is None:
            said = _("That was said by {bot}, a bot. I do not remember more.").format(bot=me.mention)
            told: dict[str, Any] = {"content": f"{said} {_(AI)}"}
        else:
            place = Place(
                event.channel_id, answer.asker_id, event.guild_id, parent_of(channel), age_restricted(channel)
            )
            lines = behind(answer, await self._cast.seated(place), me)
            told = {"content": "\n".join(lines), "embed": self._answered.card(answer, person)}
        try:
            await person.send(**told, allowed_mentions=discord.AllowedMentions.none())
        except discord.Forbidden:
            log.info("person %s takes no direct messages", event.user_id)
        if event.guild_id is not None and channel.permissions_for(channel.guild.me).manage_messages:
            await channel.get_partial_message(event.message_id).remove_reaction(event.emoji, person)


def behind(answer: Answer, seated: Seated | None, me: discord.ClientUser) -> list[str]:
    """Who said it, whose bot that is, and who let that persona talk there, if it still does."""
    name = called(answer.version.persona)
    said = _("**{name}** is a persona of {bot}, a bot.").format(name=name, bot=me.mention)
    lines = [f"{said} {_(AI)}"]
    if seated is not None and seated.kept.id == answer.persona_id and seated.set_by is not None:
        set_it = {
            Scope.THREAD: _("{person} set it for the thread."),
            Scope.CHANNEL: _("{person} set it for the channel."),
            Scope.SERVER: _("{person} set it for the server."),
            Scope.ME: _("{person} set it for themselves."),
        }[seated.spot.scope]
        lines.append(set_it.format(person=f"<@{seated.set_by}>"))
    return lines

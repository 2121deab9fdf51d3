"""Where a server's moderators read what happened: short lines in a channel of theirs, never what somebody wrote.

They are in the language of the server; where it chose none, of the person they are about. So what is written is looked
up when it is written: `note(interaction, lambda: _("…"))`.

What goes wrong with a line harms nothing else, and many at once are left out and counted.
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import discord
from discord.app_commands import Cooldown

from bot.faults import DISCORD_FAULTS
from persona_chat.errors import Filtered
from persona_chat.language import N_, _, grouped, ngettext, speaking
from persona_chat.moderation import Moderation
from persona_chat.place import Scope
from persona_chat.store.library import Kept

if TYPE_CHECKING:
    from bot.client import PersonaBot

log = logging.getLogger(__name__)

MINUTE_S = 60.0

LINES = 15
"""Lines a minute in one server. Reports have as many of their own."""

LONGEST = 1900

MESSAGE_STOPPED = N_("The word filter stopped a message of {person} ({listed})")
ANSWER_STOPPED = N_("The word filter stopped the answer to {person} ({listed})")


class LogChannel:
    """Writes for the moderators of every server that named a channel for it."""

    def __init__(self, client: "PersonaBot", moderation: Moderation) -> None:
        self._client = client
        self._moderation = moderation
        self._limits: dict[tuple[int, bool], Cooldown] = {}
        self._left_out: Counter[int] = Counter()

    def speaking(self, guild: discord.Guild | None, person_id: int) -> AbstractContextManager[None]:
        """Inside the block, speak as that server's moderators read it. The person is who a line is about."""
        return speaking(self._client.languages.of(guild, person_id))

    def named(self, guild_id: int | None) -> bool:
        """Whether the server named a channel for it."""
        return self._moderation.rules(guild_id).log_channel_id is not None

    async def write(
        self, guild_id: int | None, line: str, *, view: discord.ui.View | None = None, report: bool = False
    ) -> bool:
        """Write a line, if the server wants to read any; whether it was written. It is in the language of now."""
        channel_id = self._moderation.rules(guild_id).log_channel_id
        if guild_id is None or channel_id is None:
            return False
        limit = self._limits.setdefault((guild_id, report), Cooldown(LINES, MINUTE_S))
        if limit.update_rate_limit() is not None:
            self._left_out[guild_id] += 1
            return False
        left_out = self._left_out.pop(guild_id, 0)
        return await self.send(channel_id, line[:LONGEST] + _more(left_out), view)

    async def send(self, channel_id: int, text: str, view: discord.ui.View | None = None) -> bool:
        """Send a text to a channel that is or becomes a log; whether that went well."""
        try:
            await self._client.get_partial_messageable(channel_id).send(
                text, view=view or discord.utils.MISSING, allowed_mentions=discord.AllowedMentions.none()
            )
        except DISCORD_FAULTS as error:
            log.warning("the log channel %s takes no line: %s", channel_id, type(error).__name__)
            return False
        return True

    async def note(self, interaction: discord.Interaction, what: Callable[[], str]) -> None:
        """Write who did something, and where. `what` goes on after the name of who did it."""
        with self.speaking(interaction.guild, interaction.user.id):
            line = _("{person} {did}").format(person=f"<@{interaction.user.id}>", did=what())
            await self.write(interaction.guild_id, f"{line} · <#{interaction.channel_id}>")

    async def not_read(self, message: discord.Message, listed: str) -> None:
        """Write that a message was not answered, for a word in it."""
        await self._stopped(message, MESSAGE_STOPPED, listed)

    async def not_said(self, message: discord.Message, error: Filtered) -> None:
        """Write that there was no answer to a message that could have been said."""
        await self._stopped(message, ANSWER_STOPPED, error.listed)

    async def _stopped(self, message: discord.Message, what: str, listed: str) -> None:
        if message.guild is None:
            return
        with self.speaking(message.guild, message.author.id):
            line = _(what).format(person=f"<@{message.author.id}>", listed=_(listed))
            await self.write(message.guild.id, f"{line} · {message.jump_url}")


async def note(interaction: discord.Interaction[Any], what: Callable[[], str]) -> None:
    """Tell moderators who did something, and where, in the log of the bot that was asked."""
    await interaction.client.log_channel.note(interaction, what)


async def note_about(interaction: discord.Interaction[Any], kept: Kept, what: Callable[[], str]) -> None:
    """The same, if it is about a persona of the server: what people make for themselves is theirs alone."""
    if kept.home.scope is Scope.SERVER:
        await note(interaction, what)


def _more(left_out: int) -> str:
    if not left_out:
        return ""
    more = ngettext(
        "Before this, {number} line was left out: too many came at once.",
        "Before this, {number} lines were left out: too many came at once.",
        left_out,
    )
    return f"\n-# {more.format(number=grouped(left_out))}"

"""Where a server's moderators read what happened: short lines in a channel of theirs, never what somebody wrote.

What goes wrong with a line harms nothing else, and many at once are left out and counted.
"""

import logging
from collections import Counter
from typing import Any

import discord
from discord.app_commands import Cooldown

from bot.faults import DISCORD_FAULTS
from persona_chat.errors import Filtered
from persona_chat.moderation import Moderation
from persona_chat.place import Scope
from persona_chat.store.library import Kept

log = logging.getLogger(__name__)

MINUTE_S = 60.0

LINES = 15
"""Lines a minute in one server. Reports have as many of their own."""

LONGEST = 1900


class LogChannel:
    """Writes for the moderators of every server that named a channel for it."""

    def __init__(self, client: discord.Client, moderation: Moderation) -> None:
        self._client = client
        self._moderation = moderation
        self._limits: dict[tuple[int, bool], Cooldown] = {}
        self._left_out: Counter[int] = Counter()

    async def write(
        self, guild_id: int | None, line: str, *, view: discord.ui.View | None = None, report: bool = False
    ) -> bool:
        """Write a line, if the server wants to read any; whether it was written."""
        channel_id = self._moderation.rules(guild_id).log_channel_id
        if guild_id is None or channel_id is None:
            return False
        limit = self._limits.setdefault((guild_id, report), Cooldown(LINES, MINUTE_S))
        if limit.update_rate_limit() is not None:
            self._left_out[guild_id] += 1
            return False
        left_out = self._left_out.pop(guild_id, 0)
        more = f"\n-# Before this, {left_out:,} lines were left out: too many came at once." if left_out else ""
        return await self.send(channel_id, line[:LONGEST] + more, view)

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

    async def note(self, interaction: discord.Interaction, what: str) -> None:
        """Write who did something, and where."""
        await self.write(interaction.guild_id, f"<@{interaction.user.id}> {what} · <#{interaction.channel_id}>")

    async def not_read(self, message: discord.Message, listed: str) -> None:
        """Write that a message was not answered, for a word in it."""
        if message.guild is not None:
            line = f"The word filter stopped a message of <@{message.author.id}> ({listed})"
            await self.write(message.guild.id, f"{line} · {message.jump_url}")

    async def not_said(self, message: discord.Message, error: Filtered) -> None:
        """Write that there was no answer to a message that could have been said."""
        if message.guild is not None:
            line = f"The word filter stopped the answer to <@{message.author.id}> ({error.listed})"
            await self.write(message.guild.id, f"{line} · {message.jump_url}")


async def note(interaction: discord.Interaction[Any], what: str) -> None:
    """Tell moderators who did something, and where, in the log of the bot that was asked."""
    await interaction.client.log_channel.note(interaction, what)


async def note_about(interaction: discord.Interaction[Any], kept: Kept, what: str) -> None:
    """The same, if it is about a persona of the server: what people make for themselves is theirs alone."""
    if kept.home.scope is Scope.SERVER:
        await note(interaction, what)

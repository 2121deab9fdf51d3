"""What is said to who used a command, in time or too late; and the sign that we are typing, which may cost no reply."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import discord

from bot.faults import DISCORD_FAULTS
from bot.speaking import CAME
from persona_chat.errors import PersonaChatError

log = logging.getLogger(__name__)

ANSWERED_WITHIN_S = 14 * 60.0
"""Discord takes an answer for a quarter of an hour."""


def line_of(error: PersonaChatError) -> str:
    """What is said of an error, with nothing of what people typed that Discord would format."""
    return error.said(discord.utils.escape_markdown)


def too_late(interaction: discord.Interaction) -> bool:
    """Whether Discord hardly takes an answer to it any more."""
    came = interaction.extras.get(CAME)
    return came is not None and time.monotonic() - came > ANSWERED_WITHIN_S


async def finish(interaction: discord.Interaction, content: str, *, public: bool) -> None:
    """Say what a deferred command came to. When it is too late for an answer, what is public is said in the channel.

    What is for one person alone is not said then: there is no other place that nobody else sees.
    """
    nobody = discord.AllowedMentions.none()
    if not too_late(interaction):
        await interaction.edit_original_response(content=content, allowed_mentions=nobody)
    elif public and isinstance(interaction.channel, discord.abc.Messageable):
        await interaction.channel.send(content, allowed_mentions=nobody)
    else:
        log.warning("interaction %s could not be answered: it is too late", interaction.id)


async def tell(interaction: discord.Interaction, line: str) -> None:
    """Answer an interaction with a line only its user sees, whatever state it is in, unless it is too late."""
    if too_late(interaction):
        log.warning("interaction %s could not be answered: it is too late", interaction.id)
        return
    try:
        if interaction.response.is_done():
            await interaction.followup.send(line, ephemeral=True)
        else:
            await interaction.response.send_message(line, ephemeral=True)
    except DISCORD_FAULTS as error:
        log.warning("interaction %s could not be answered: %s", interaction.id, type(error).__name__)


@asynccontextmanager
async def typing(channel: discord.abc.Messageable) -> AsyncIterator[None]:
    """Show that we are typing. It is only a courtesy: that it fails never costs a reply."""
    indicator = channel.typing()
    try:
        await indicator.__aenter__()
    except DISCORD_FAULTS as error:
        log.info("could not show typing: %s", type(error).__name__)
        yield
        return
    try:
        yield
    finally:
        await indicator.__aexit__(None, None, None)

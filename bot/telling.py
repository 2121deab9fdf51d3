"""What is said of errors, and two courtesies: a line for who used a command, and the sign that we are typing.

Neither may ever cost a reply.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import discord

from bot.faults import DISCORD_FAULTS
from persona_chat.errors import PersonaChatError

log = logging.getLogger(__name__)


def line_of(error: PersonaChatError) -> str:
    """What is said of an error, with nothing of what people typed that Discord would format."""
    return error.said(discord.utils.escape_markdown)


async def tell(interaction: discord.Interaction, line: str) -> None:
    """Answer an interaction with a line only its user sees, whatever state it is in."""
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

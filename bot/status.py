"""`/status`: how the bot is doing, and what it lacks where it is asked."""

import asyncio
from typing import Any

import discord
from discord import app_commands

from bot.admission import NOT_HERE
from bot.command_table import CHANNEL_MANAGERS, YOU, says
from bot.conversation import SAID, managed
from bot.portrait import called
from persona_chat.chat import Chat
from persona_chat.registry import Registry
from persona_chat.rules import talks_in


def status_command(
    chat: Chat, registry: Registry, *, wanted: discord.Permissions, message_content: bool
) -> app_commands.Command[Any, ..., None]:
    """Return the command. `wanted` are the permissions that the bot has a use for."""

    @app_commands.command(name="status", extras=says(CHANNEL_MANAGERS, YOU))
    async def status(interaction: discord.Interaction) -> None:
        """Show how I am doing: who waits, what serves, and what I lack here."""
        place = managed(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        seated = await chat.cast.seated(place)
        adapter = await asyncio.to_thread(registry.in_service)
        manners = chat.listening.manners(place)
        silent = not talks_in(chat.moderation.rules(place.guild_id).channels, place)
        answers = NOT_HERE if silent else "nothing: paused" if manners.paused else SAID[manners.mode]
        lacking = missing(wanted, interaction.app_permissions) if place.guild_id is not None else []
        card = discord.Embed(title="How I am doing")
        card.add_field(name="Talks here", value=called(seated.persona) if seated else "nobody")
        card.add_field(name="I answer here", value=answers)
        card.add_field(name="Waiting for an answer", value=str(chat.waiting), inline=False)
        card.add_field(name="Base", value=registry.base)
        card.add_field(name="Adapter", value=adapter or "none, the plain base")
        card.add_field(name="Missing permissions", value=", ".join(lacking) or "none", inline=False)
        reads = "every message" if message_content else "only mentions, replies to me and direct messages"
        card.add_field(name="I can read", value=reads)
        await interaction.edit_original_response(embed=card)

    return status


def missing(wanted: discord.Permissions, had: discord.Permissions) -> list[str]:
    """The permissions that are wanted and not there, as Discord calls them."""
    return [name.replace("_", " ").title() for name, asked in wanted if asked and not getattr(had, name)]

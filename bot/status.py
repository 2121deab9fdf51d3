"""`/status`: how the bot is doing, and what it lacks where it is asked."""

import asyncio
from typing import Any

import discord
from discord import app_commands

from bot.admission import NOT_HERE
from bot.command_table import CHANNEL_MANAGERS, YOU, says
from bot.conversation import SAID
from bot.guests import besides
from bot.portrait import called, shortened
from bot.rights import managed
from persona_chat.chat import Chat
from persona_chat.language import N_, _
from persona_chat.registry import Registry
from persona_chat.rules import talks_in

_PERMISSIONS = {
    "read_messages": N_("View Channels"),
    "send_messages": N_("Send Messages"),
    "send_messages_in_threads": N_("Send Messages in Threads"),
    "read_message_history": N_("Read Message History"),
    "manage_webhooks": N_("Manage Webhooks"),
}


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
        answers = _("nothing: paused") if manners.paused else _(SAID[manners.mode])
        answers = _(NOT_HERE) if silent else answers
        lacking = missing(wanted, interaction.app_permissions) if place.guild_id is not None else []
        card = discord.Embed(title=_("How I am doing"))
        talking = (called(seated.persona) if seated else "", besides(chat.cast.guests.at(place)))
        who = "\n".join(filter(None, talking)) or _("nobody")
        card.add_field(name=_("Talks here"), value=shortened(who, 1024))
        card.add_field(name=_("I answer here"), value=answers)
        card.add_field(name=_("Waiting for an answer"), value=str(chat.waiting), inline=False)
        card.add_field(name=_("Base"), value=registry.base)
        card.add_field(name=_("Adapter"), value=adapter or _("none, the plain base"))
        card.add_field(name=_("Missing permissions"), value=", ".join(lacking) or _("none"), inline=False)
        reads = _("every message") if message_content else _("only mentions, replies to me and direct messages")
        card.add_field(name=_("I can read"), value=reads)
        await interaction.edit_original_response(embed=card)

    return status


def missing(wanted: discord.Permissions, had: discord.Permissions) -> list[str]:
    """The permissions that are wanted and not there, as Discord calls them."""
    return [_(_PERMISSIONS.get(name, name)) for name, asked in wanted if asked and not getattr(had, name)]

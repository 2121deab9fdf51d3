"""`/adapter`: which adapter serves, and going back to the one before. For the bot's admins only."""

import asyncio

import discord
from discord import app_commands

from bot.admins import Admins
from bot.command_table import ADMINS, YOU, says
from persona_chat.language import N_, _
from persona_chat.registry import NONE, Entry, Registry
from persona_chat.swap import Swap

PLAIN = N_("the plain base")
NOTHING_KEPT = N_("No adapter is kept here yet; the base answers as it is.")

_CHOICES = 25  # as many as Discord shows


class AdapterCommands(app_commands.Group):
    """The registry from Discord."""

    def __init__(self, registry: Registry, swap: Swap, admins: Admins) -> None:
        super().__init__(name="adapter", description="Choose what the model has learned (for those who run this bot)")
        self._registry = registry
        self._swap = swap
        self._admins = admins

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        """Let admins only."""
        self._admins.check(interaction.user)
        return True

    @app_commands.command(name="list", extras=says(ADMINS, YOU))
    async def list_(self, interaction: discord.Interaction) -> None:
        """Show the adapters that are kept here, and which of them is in service."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        entries = await asyncio.to_thread(self._registry.list)
        lines = [_line(entry) for entry in entries[-_CHOICES:]]
        if entries and not any(entry.in_service for entry in entries):
            lines.append(_("In service is {adapter}.").format(adapter=_(PLAIN)))
        await interaction.edit_original_response(content="\n".join(lines) if lines else _(NOTHING_KEPT))

    @app_commands.command(name="use", extras=says(ADMINS, YOU))
    @app_commands.describe(name="Which one; none is the plain base")
    async def use(self, interaction: discord.Interaction, name: str) -> None:
        """Put an adapter in service, between two replies."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self._swap.use(name if name != NONE else None, f"/adapter use by {interaction.user.id}")
        await interaction.edit_original_response(
            content=_("In service now: {adapter}.").format(adapter=name if name != NONE else _(PLAIN))
        )

    @use.autocomplete("name")
    async def _names(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        # Discord asks for these without any check of the command.
        if interaction.user not in self._admins:
            return []
        entries = await asyncio.to_thread(self._registry.list)
        names = [NONE, *(entry.name for entry in reversed(entries))]
        return [app_commands.Choice(name=name, value=name) for name in names if typed.lower() in name][:_CHOICES]

    @app_commands.command(name="rollback", extras=says(ADMINS, YOU))
    async def rollback(self, interaction: discord.Interaction) -> None:
        """Go back to the adapter that was in service before."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        name = await self._swap.rollback()
        await interaction.edit_original_response(
            content=_("In service again: {adapter}.").format(adapter=name or _(PLAIN))
        )


def _line(entry: Entry) -> str:
    serves = _(" · **in service**") if entry.in_service else ""
    made = f" · {entry.created[:10]}" if entry.created else ""
    return f"`{entry.name}`{serves}{made}"

"""`/help`: the commands, as they describe themselves."""

from typing import Any

import discord
from discord import app_commands

from bot.admins import Admins
from bot.command_table import ADMINS, EVERYBODY, YOU, rows, says
from bot.persona_list import Pages
from persona_chat.language import N_, _

FIRST = N_(
    "Somebody sets a persona with `/persona set`; then just write, and it answers. `🔁` under a reply gives another "
    "one, `⋯` more. React to it with 👍 or 👎 to say how it was, with ❌ to take it away, with ❓ to be told who is "
    "behind it. (What stands in brackets is not for me.)"
)


def help_command(tree: app_commands.CommandTree[Any], admins: Admins) -> app_commands.Command[Any, ..., None]:
    """Return the command. Those who run the bot are shown theirs as well."""

    @app_commands.command(name="help", extras=says(EVERYBODY, YOU, always=True))
    async def help_(interaction: discord.Interaction) -> None:
        """Show what I can do, and how to begin."""
        mine = interaction.user in admins
        shown = [row for row in rows(tree) if mine or row.who != ADMINS]
        lines = [f"`{row.name}` · {row.does}" for row in shown]
        await Pages(_("What I can do"), lines, first=_(FIRST)).show(interaction)

    return help_

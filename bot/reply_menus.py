"""The entries in the menu of a message (Apps): what can be done with a reply, as under its buttons."""

from collections.abc import Awaitable, Callable
from typing import Any

import discord
from discord import app_commands

from bot.answered import Answered
from bot.command_table import ALL, ASKERS, EVERYBODY, YOU, says

Do = Callable[[discord.Interaction[Any], int], Awaitable[None]]


def reply_menus(answered: Answered) -> list[app_commands.ContextMenu]:
    """Return the entries, in the order in which they are shown."""
    return [
        _menu("Regenerate", "Answer once more, in another version", answered.again, ASKERS, ALL),
        _menu("Why this reply?", "Show what a reply was made with", answered.why, EVERYBODY, YOU),
        _menu("Edit this reply", "Let the reply have other words", answered.edit, ASKERS, ALL),
        _menu("Delete this reply", "Delete the reply, and forget it", answered.delete, ASKERS, YOU, always=True),
    ]


def _menu(name: str, does: str, do: Do, who: str, sees: str, *, always: bool = False) -> app_commands.ContextMenu:
    async def chosen(interaction: discord.Interaction, message: discord.Message) -> None:
        await do(interaction, message.id)

    return app_commands.ContextMenu(name=name, callback=chosen, extras=says(who, sees, always=always) | {"does": does})

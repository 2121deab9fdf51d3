"""What the bot's commands are, who may use them and who sees the answer, read from the commands themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import discord
from discord import app_commands

from bot.speaking import MENU
from bot.speaking import command as named
from persona_chat.language import _, pgettext

EVERYBODY = "everybody"
TALKERS = "everybody who did not opt out"
FOR_PLACE = (
    "for a channel Manage Channels, for a thread Manage Threads or its owner, for the server Manage Server, "
    "for oneself everybody"
)
FOR_GUESTS = "for a channel Manage Channels, for a thread Manage Threads or its owner"
MAKERS = "Manage Channels or Manage Server; for oneself everybody"
CHANGERS = "who made it, or Manage Server"
CHANNEL_MANAGERS = "Manage Channels, or the thread's owner"
ASKERS = "who asked, or Manage Messages"
SERVER_MANAGERS = "Manage Server"
MODERATORS = "Manage Messages or Manage Server"
ADMINS = "those who run the bot"

YOU = "you alone"
ALL = "everybody there"

_HEAD = """# Commands

Made from the code by `python -m tests.command_table`. A command works in servers, in threads and in direct messages;
in those everybody may what takes a permission in a server. `/moderation` and `/report` need a server. Server Settings →
Integrations can narrow each further.

| command | what it does | who may | who sees the answer |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """A command, as a person reads of it."""

    name: str
    does: str
    who: str
    sees: str


def says(who: str, sees: str, *, always: bool = False) -> dict[Any, Any]:
    """What a command says of itself, for `extras` of its decorator. `always`: whatever a server's lists say."""
    return {"who": who, "sees": sees, "always": always}


def rows(tree: app_commands.CommandTree[Any]) -> Iterator[Row]:
    """Every command that the tree tells Discord, groups taken apart, then the entries in the menu of a message.

    They are in the language of now.
    """
    for command in tree.walk_commands():
        if isinstance(command, app_commands.Command):
            yield _row(named(command.qualified_name), _(command.description), command.extras)
    for menu in tree.get_commands(type=discord.AppCommandType.message):
        name = _("{entry} (menu of a message)").format(entry=pgettext(MENU, menu.name))
        yield _row(name, _(menu.extras["does"]), menu.extras)


def table(tree: app_commands.CommandTree[Any]) -> str:
    """The text of docs/commands.md."""
    lines = [f"| `{row.name}` | {row.does} | {row.who} | {row.sees} |" for row in rows(tree)]
    return _HEAD + "\n".join(lines) + "\n"


def _row(name: str, does: str, extras: dict[Any, Any]) -> Row:
    return Row(name, does, extras["who"], extras["sees"])

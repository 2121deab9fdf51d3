"""All commands and menus that the bot has, made of its parts."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.adapters import AdapterCommands
from bot.conversation import ChatCommands
from bot.feedback import FeedbackCommands
from bot.help import help_command
from bot.moderation import ModerationCommands
from bot.personas import PersonaCommands
from bot.privacy import PrivacyCommands, notice
from bot.reply_menus import reply_menus
from bot.reports import report_command, report_menu
from bot.retraining import RetrainCommands
from bot.status import status_command
from persona_chat.language import N_
from persona_chat.rework import Rework

if TYPE_CHECKING:
    from bot.client import PersonaBot

ONLY_ADDRESSED = N_("I can only read messages here that mention me or reply to me.")


def commands(
    bot: "PersonaBot", rework: Rework, *, wanted: discord.Permissions, message_content: bool
) -> Iterator[app_commands.Command[Any, ..., Any] | app_commands.Group | app_commands.ContextMenu]:
    """Make them. `wanted` are the permissions that the bot uses."""
    chat, retraining, privacy, admins = bot.chat, bot.retraining, bot.privacy, bot.admins
    notes = (None if message_content else ONLY_ADDRESSED, lambda: notice(privacy.days))
    yield PersonaCommands(chat, bot.faces, *notes)
    yield PrivacyCommands(privacy)
    yield ChatCommands(chat, rework)
    yield ModerationCommands(chat.moderation, bot.log_channel, bot.reporting)
    yield report_command()
    yield from reply_menus(bot.answered)
    yield report_menu()
    yield status_command(chat, retraining.registry, wanted=wanted, message_content=message_content)
    yield help_command(bot.tree, admins)
    yield RetrainCommands(retraining, bot.announcer, admins)
    yield FeedbackCommands(bot.feedback, admins)
    yield AdapterCommands(retraining.registry, retraining.swap, admins)

"""Whether the bot talks somewhere, and to somebody, by the rules of the server. For messages, commands, buttons.

It reads rules and Discord's roles; what was decided is `persona_chat.rules.judge`.
"""

from typing import Any

import discord
from discord import app_commands

from bot.command_table import ADMINS, ALL
from bot.places import place_of, said_at
from bot.speaking import Commands
from persona_chat.errors import PersonaChatError
from persona_chat.language import N_, _
from persona_chat.moderation import Moderation
from persona_chat.rules import Verdict
from persona_chat.word_filter import Listed

NOT_HERE = N_("The people who manage this server let me talk in other channels only.")
NOT_TO_YOU = N_("The people who manage this server do not let me talk to people with your roles.")


class NotAdmitted(app_commands.CheckFailure, PersonaChatError):  # noqa: N818  it reads as what happened
    """The rules of the server forbid it."""


class Tree(Commands):
    """The bot's commands, each used only where its server allows that."""

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Raise NotAdmitted for a command that the rules forbid. What it may suggest while it is typed is harmless."""
        await super().interaction_check(interaction)
        if interaction.type is discord.InteractionType.application_command and interaction.command is not None:
            extras = interaction.command.extras
            if not (extras.get("always") or extras["who"] == ADMINS):
                check(interaction, public=extras["sees"] == ALL)
        return True


def admits(moderation: Moderation, message: discord.Message) -> bool:
    """Whether the bot talks to the author of a message where it was said."""
    manages = isinstance(message.author, discord.Member) and message.author.guild_permissions.manage_guild
    return moderation.judge(said_at(message), roles_of(message.author), manages=manages) is Verdict.FINE


def check(interaction: discord.Interaction[Any], *, public: bool) -> None:
    """Raise NotAdmitted unless whoever uses it may; only what is `public` is kept out of channels."""
    moderation: Moderation = interaction.client.chat.moderation
    manages = interaction.permissions.manage_guild
    verdict = moderation.judge(place_of(interaction), roles_of(interaction.user), manages=manages)
    if verdict is Verdict.ROLE:
        raise NotAdmitted(_(NOT_TO_YOU))
    if verdict is Verdict.CHANNEL and public:
        raise NotAdmitted(_(NOT_HERE))


def roles_of(person: discord.abc.User) -> list[int]:
    """The ids of somebody's roles, the one that everybody has among them."""
    return [role.id for role in person.roles] if isinstance(person, discord.Member) else []


def stopped(interaction: discord.Interaction[Any], *texts: str) -> Listed | None:
    """The list with a word in these texts that the server lets no persona say, if there is one."""
    moderation: Moderation = interaction.client.chat.moderation
    return moderation.words(interaction.guild_id).stops_output(*texts)

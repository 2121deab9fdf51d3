"""Who may set and change personas. Discord checks commands as a whole; what each needs is checked here as well."""

from typing import Any

import discord

from bot.places import place_of
from bot.portrait import called
from persona_chat.errors import PersonaChatError
from persona_chat.language import N_, _
from persona_chat.place import Place, Scope
from persona_chat.store.library import Kept


class NotAllowed(PersonaChatError):  # noqa: N818  it reads as what happened
    """Somebody tried what others may."""


OPTED_OUT = N_("You opted out, so I answer nothing for you. `/privacy opt-in` ends that.")

_NEEDED = {
    Scope.THREAD: N_(
        "To say who talks in this thread you need the permission Manage Threads, unless the thread is yours. "
        "For yourself alone you may: choose the scope `me`."
    ),
    Scope.CHANNEL: N_(
        "To say who talks in this channel you need the permission Manage Channels. "
        "For yourself alone you may: choose the scope `me`."
    ),
    Scope.SERVER: N_(
        "To say who talks in this server you need the permission Manage Server. "
        "For yourself alone you may: choose the scope `me`."
    ),
}


def check_set(interaction: discord.Interaction, place: Place, scope: Scope) -> None:
    """Raise NotAllowed unless this person may say who talks there. For oneself and in direct messages everybody may."""
    if scope is Scope.ME or place.guild_id is None:
        return
    has = interaction.permissions
    thread = interaction.channel if isinstance(interaction.channel, discord.Thread) else None
    allowed = {
        Scope.THREAD: has.manage_threads or (thread is not None and thread.owner_id == interaction.user.id),
        Scope.CHANNEL: has.manage_channels,
        Scope.SERVER: has.manage_guild,
    }
    if not allowed[scope]:
        raise NotAllowed(_(_NEEDED[scope]))


def check_make(interaction: discord.Interaction, *, for_me: bool) -> None:
    """Raise NotAllowed unless this person may make a persona for the server, or makes it for themselves."""
    if for_me or interaction.guild_id is None:
        return
    if not (interaction.permissions.manage_channels or interaction.permissions.manage_guild):
        raise NotAllowed(
            _(
                "To make a persona for this server you need the permission Manage Channels or Manage Server. "
                "For yourself you may: choose `for_me`."
            )
        )


def check_change(interaction: discord.Interaction, kept: Kept) -> None:
    """Raise NotAllowed unless the persona is this person's own, or the server's and they made it or manage it."""
    if kept.home.scope is Scope.ME:
        allowed = kept.home.id == interaction.user.id
    else:
        mine = kept.by == interaction.user.id or interaction.permissions.manage_guild
        allowed = kept.home.id == interaction.guild_id and mine
    if not allowed:
        raise NotAllowed(
            _(
                "{name} can be changed by who made it, and with the permission Manage Server. "
                "You can make one of your own: `/persona create for_me:True`."
            ).format(name=called(kept.persona))
        )


def check_talks(interaction: discord.Interaction[Any]) -> None:
    """Raise NotAllowed for somebody who opted out: the model answers nothing for them."""
    if interaction.client.privacy.opted_out(interaction.user.id):
        raise NotAllowed(_(OPTED_OUT))


def managed(interaction: discord.Interaction) -> Place:
    """Where it is, for somebody who may change how the bot behaves there. Raises NotAllowed."""
    place = place_of(interaction)
    thread = interaction.channel if isinstance(interaction.channel, discord.Thread) else None
    mine = thread is not None and thread.owner_id == interaction.user.id
    if place.guild_id is not None and not (interaction.permissions.manage_channels or mine):
        raise NotAllowed(_("That takes the permission Manage Channels here."))
    return place

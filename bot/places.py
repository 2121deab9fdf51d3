"""Discord's channels as plain places: of a message, and of a command."""

from typing import Any

import discord

from persona_chat.errors import InputError
from persona_chat.language import _
from persona_chat.place import Place

_WITH_AGES = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel, discord.ForumChannel, discord.Thread)


def parent_of(channel: object) -> int | None:
    """The id of the channel that a thread belongs to; None for everything else."""
    return channel.parent_id if isinstance(channel, discord.Thread) else None


def age_restricted(channel: object) -> bool:
    """Whether Discord lets nobody in who is too young; of a thread its channel counts."""
    return isinstance(channel, _WITH_AGES) and channel.is_nsfw()


async def channel_at(client: discord.Client, channel_id: int) -> Any:
    """The channel of that id, which is asked for when it is not known, as an old thread. Raises what Discord says."""
    return client.get_channel(channel_id) or await client.fetch_channel(channel_id)


def said_at(message: discord.Message) -> Place:
    """Where a message was said, and by whom."""
    channel, guild = message.channel, message.guild
    guild_id = guild.id if guild is not None else None
    return Place(channel.id, message.author.id, guild_id, parent_of(channel), age_restricted(channel))


def place_of(interaction: discord.Interaction) -> Place:
    """Where a command was used, and by whom."""
    if interaction.channel_id is None:
        raise InputError(_("This only works in a channel."))
    return Place(
        interaction.channel_id,
        interaction.user.id,
        interaction.guild_id,
        parent_of(interaction.channel),
        age_restricted(interaction.channel),
    )

"""Character cards in Discord: one that is attached becomes a draft, a persona becomes a file."""

import asyncio
import io
import re

import discord

from bot.faults import DISCORD_FAULTS
from bot.persona_draft import PersonaDraft
from bot.portrait import called
from persona_chat import cards
from persona_chat.chat import Chat
from persona_chat.errors import InputError
from persona_chat.language import _, grouped
from persona_chat.place import Spot
from persona_chat.store.library import Kept


async def import_card(chat: Chat, interaction: discord.Interaction, home: Spot, file: discord.Attachment) -> None:
    """Show the card as a persona that can be tried, changed and saved, with what of it was left out."""
    if file.size > cards.FILE_BYTES:
        has, allowed = grouped(file.size / 1e6), grouped(cards.FILE_BYTES / 1e6)
        raise InputError(_("That file has {has} MB; {allowed} MB are allowed.").format(has=has, allowed=allowed))
    await interaction.response.defer(ephemeral=True, thinking=True)
    try:
        data = await file.read()
    except DISCORD_FAULTS:
        raise InputError(_("Discord did not give me that file. Please attach it again.")) from None
    fitted = await asyncio.to_thread(_fitted, data)
    await PersonaDraft(chat, home, fitted.persona, None, fitted.left_out).show(interaction)


async def export_card(interaction: discord.Interaction, kept: Kept, kind: str) -> None:
    """Give the persona as a file that SillyTavern, and this bot elsewhere, can read."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    data = await asyncio.to_thread(_written, kept, kind)
    name = re.sub(r"[^\w-]+", "-", kept.persona.name).strip("-_") or "persona"
    await interaction.edit_original_response(
        content=_("**{name}** as a character card. `/persona import` reads it, and so does SillyTavern.").format(
            name=called(kept.persona)
        ),
        attachments=[discord.File(io.BytesIO(data), f"{name}.{kind}")],
    )


def _fitted(data: bytes) -> cards.Fitted:
    return cards.fit(cards.read_card(data))


def _written(kept: Kept, kind: str) -> bytes:
    card = cards.write_card(kept.persona)
    return cards.write_png(card) if kind == "png" else card

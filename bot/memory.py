"""`/chat memory`: what a persona remembers of what does not fit the window any more."""

import asyncio
from typing import Self

import discord
from discord import app_commands

from bot.admission import check
from bot.command_table import CHANNEL_MANAGERS, EVERYBODY, YOU, says
from bot.guests import guest_choices, whose
from bot.log_channel import note
from bot.persona_form import Again
from bot.places import place_of
from bot.portrait import called
from bot.rights import managed
from bot.speaking import Speaking
from persona_chat.chat import Chat
from persona_chat.errors import EngineBusy, InputError
from persona_chat.language import N_, _
from persona_chat.notes import LONGEST, MOST
from persona_chat.persona import Persona
from persona_chat.place import Place
from persona_chat.rework import Rework
from persona_chat.store.library import Kept

OFF = N_("I remember nothing but the last messages here: memory is off.")
NOTHING = N_("**{name}** remembers nothing here but the last messages, which are still read whole.")

ROOM = 2 * MOST * LONGEST
"""Characters that can be typed: more than are kept, so that what is too long can be looked at and shortened."""

_FORM_S = 2.0
"""Discord waits three seconds for a form, and it cannot be promised as an answer can."""

_GUEST = "Of which guest; without it, of who was set here"


class MemoryCommands(app_commands.Group):
    """Everybody may look; changing it takes Manage Channels."""

    def __init__(self, chat: Chat, rework: Rework) -> None:
        super().__init__(name="memory", description="What the persona remembers of itself from long ago")
        self._chat = chat
        self._rework = rework

    @app_commands.command(name="show", extras=says(EVERYBODY, YOU))
    @app_commands.describe(guest=_GUEST)
    async def show(self, interaction: discord.Interaction, guest: str | None = None) -> None:
        """Show what the persona told of itself and still remembers."""
        place = place_of(interaction)
        kept, guest_id = await self._whose(place, guest)
        await interaction.response.defer(ephemeral=True, thinking=True)
        prompt, _past = await self._rework.context(place, guest_id)
        await interaction.edit_original_response(content=shown(kept.persona, prompt.notes))

    @app_commands.command(name="edit", extras=says(CHANNEL_MANAGERS, YOU))
    @app_commands.describe(guest=_GUEST)
    async def edit(self, interaction: discord.Interaction, guest: str | None = None) -> None:
        """Change what the persona remembers, a line each."""
        place = managed(interaction)
        kept, guest_id = await self._whose(place, guest)
        try:
            prompt, _past = await asyncio.wait_for(self._rework.context(place, guest_id), _FORM_S)
        except TimeoutError:
            raise EngineBusy from None
        form = MemoryForm(self._chat, place, kept, prompt.notes)
        await interaction.response.send_modal(form)

    @app_commands.command(name="clear", extras=says(CHANNEL_MANAGERS, YOU))
    @app_commands.describe(guest=_GUEST)
    async def clear(self, interaction: discord.Interaction, guest: str | None = None) -> None:
        """Let the persona remember nothing of what it told before now; the last messages are still read."""
        place = managed(interaction)
        kept, _guest_id = await self._whose(place, guest)
        await self._chat.memory.keep(place.channel_id, kept.id, (), interaction.user.id)
        cleared = _("**{name}** has forgotten what it told of itself before now.")
        await interaction.response.send_message(cleared.format(name=called(kept.persona)), ephemeral=True)
        await note(interaction, lambda: _("cleared what the persona remembers"))

    @show.autocomplete("guest")
    @edit.autocomplete("guest")
    @clear.autocomplete("guest")
    async def _guests(self, interaction: discord.Interaction, written: str) -> list[app_commands.Choice[str]]:
        return guest_choices(self._chat.cast, interaction, written)

    async def _whose(self, place: Place, guest: str | None) -> tuple[Kept, int | None]:
        """Whose memory it is, and its id if it is a guest. Raises InputError where there is none."""
        found = await whose(self._chat.cast, place, guest)
        if not self._chat.memory.on:
            raise InputError(_(OFF))
        return found


class MemoryForm(Speaking, discord.ui.Modal):
    """The notes, a line each."""

    def __init__(self, chat: Chat, place: Place, kept: Kept, before: tuple[str, ...], typed: str | None = None) -> None:
        """`before` is what is remembered; with `typed` that is shown instead."""
        super().__init__(title=_("What it remembers"))
        self._chat = chat
        self._place = place
        self._kept = kept
        self._before = before
        filled = "\n".join(before) if typed is None else typed
        self.notes = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph, required=False, max_length=max(ROOM, len(filled)), default=filled
        )
        label = _("Sentences it says of itself, a line each")
        self.add_item(discord.ui.Label(text=label, component=self.notes))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Keep what was typed, for who may still change it. What cannot be kept comes back, to be changed."""
        check(interaction, public=False)
        managed(interaction)
        typed, keep = self.notes.value, self._chat.memory.keep
        try:
            lines, by = typed.splitlines(), interaction.user.id
            notes = await keep(self._place.channel_id, self._kept.id, lines, by, self._before)
        except InputError as error:
            again = MemoryForm(self._chat, self._place, self._kept, self._before, typed)
            await interaction.response.send_message(str(error), view=Again(again), ephemeral=True)
            return
        await interaction.response.send_message(shown(self._kept.persona, notes), ephemeral=True)
        await note(interaction, lambda: _("changed what the persona remembers"))

    async def on_error(  # type: ignore[override]
        self, interaction: discord.Interaction, error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)  # type: ignore[attr-defined]


def shown(persona: Persona, notes: tuple[str, ...]) -> str:
    """The notes for people."""
    name = called(persona)
    if not notes:
        return _(NOTHING).format(name=name)
    lines = "\n".join(f"• {discord.utils.escape_markdown(one)}" for one in notes)
    head = _("Earlier talk is not read whole any more. Of it **{name}** remembers what it said of itself:").format(
        name=name
    )
    return f"{head}\n{lines}"

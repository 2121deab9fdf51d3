"""`/chat memory`: what a persona remembers of what does not fit the window any more."""

from typing import Self

import discord
from discord import app_commands

from bot.admission import check
from bot.command_table import CHANNEL_MANAGERS, EVERYBODY, YOU, says
from bot.log_channel import note
from bot.places import place_of
from bot.portrait import called
from bot.rights import managed
from bot.speaking import Speaking
from persona_chat.chat import Chat
from persona_chat.errors import InputError
from persona_chat.language import N_, _
from persona_chat.notes import LONGEST, MOST
from persona_chat.place import Place
from persona_chat.rework import Rework
from persona_chat.store.seating import Seated

OFF = N_("I remember nothing but the last messages here: memory is off.")
NOTHING = N_("**{name}** remembers nothing here but the last messages, which I still read whole.")


class MemoryCommands(app_commands.Group):
    """Everybody may look; changing it takes Manage Channels."""

    def __init__(self, chat: Chat, rework: Rework) -> None:
        super().__init__(name="memory", description="What the persona remembers of itself from long ago")
        self._chat = chat
        self._rework = rework

    @app_commands.command(name="show", extras=says(EVERYBODY, YOU))
    async def show(self, interaction: discord.Interaction) -> None:
        """Show what the persona told of itself and still remembers."""
        seated, notes = await self._notes(place_of(interaction))
        await interaction.response.send_message(shown(seated, notes, on=self._chat.memory.on), ephemeral=True)

    @app_commands.command(name="edit", extras=says(CHANNEL_MANAGERS, YOU))
    async def edit(self, interaction: discord.Interaction) -> None:
        """Change what the persona remembers, a line each."""
        place = managed(interaction)
        seated, notes = await self._notes(place)
        if not self._chat.memory.on:
            raise InputError(_(OFF))
        await interaction.response.send_modal(MemoryForm(self._chat, place, seated, notes))

    @app_commands.command(name="clear", extras=says(CHANNEL_MANAGERS, YOU))
    async def clear(self, interaction: discord.Interaction) -> None:
        """Let the persona remember nothing of what it told before now; the last messages are still read."""
        place = managed(interaction)
        seated, _notes = await self._notes(place)
        await self._chat.memory.keep(place.channel_id, seated.kept.id, (), interaction.user.id)
        cleared = _("**{name}** has forgotten what it told of itself before now.")
        await interaction.response.send_message(cleared.format(name=called(seated.persona)), ephemeral=True)
        await note(interaction, lambda: _("cleared what the persona remembers"))

    async def _notes(self, place: Place) -> tuple[Seated, tuple[str, ...]]:
        """Who talks there, and the notes in the next prompt. Raises InputError where nobody talks."""
        prompt, _past = await self._rework.context(place)
        seated = await self._chat.cast.seated(place)
        if seated is None:
            raise InputError(_("Nobody talks here. Set a persona with `/persona set`."))
        return seated, prompt.notes


class MemoryForm(Speaking, discord.ui.Modal):
    """The notes, a line each."""

    def __init__(self, chat: Chat, place: Place, seated: Seated, notes: tuple[str, ...]) -> None:
        super().__init__(title=_("What it remembers"))
        self._chat = chat
        self._place = place
        self._seated = seated
        self.notes = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            required=False,
            max_length=MOST * (LONGEST + 1),
            default="\n".join(notes),
        )
        label = _("Sentences it says of itself, a line each")
        self.add_item(discord.ui.Label(text=label, component=self.notes))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Keep what was typed, for who may still change it."""
        check(interaction, public=False)
        managed(interaction)
        lines = self.notes.value.splitlines()
        kept = await self._chat.memory.keep(self._place.channel_id, self._seated.kept.id, lines, interaction.user.id)
        await interaction.response.send_message(shown(self._seated, kept, on=True), ephemeral=True)
        await note(interaction, lambda: _("changed what the persona remembers"))

    async def on_error(  # type: ignore[override]
        self, interaction: discord.Interaction, error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)  # type: ignore[attr-defined]


def shown(seated: Seated, notes: tuple[str, ...], *, on: bool) -> str:
    """The notes for people."""
    if not on:
        return _(OFF)
    name = called(seated.persona)
    if not notes:
        return _(NOTHING).format(name=name)
    lines = "\n".join(f"• {discord.utils.escape_markdown(one)}" for one in notes)
    head = _("Of what does not fit any more **{name}** remembers what it told of itself:").format(name=name)
    return f"{head}\n{lines}"

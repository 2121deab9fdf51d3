"""A persona that is not saved yet: shown to one person, who tries it, changes it, and saves it."""

from typing import TYPE_CHECKING, Any, Self

import discord

from bot.admission import check
from bot.log_channel import note_about
from bot.persona_form import OPEN_S, LineForm, PersonaForm, typed
from bot.places import place_of
from bot.portrait import called, in_code, portrait, shortened
from bot.rights import check_change, check_make, check_talks
from bot.speaking import Buttons
from bot.telling import finish
from persona_chat.chat import Chat
from persona_chat.errors import PersonaTooLong
from persona_chat.language import N_, _
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.store.library import Kept

if TYPE_CHECKING:
    from bot.client import PersonaBot


class PersonaDraft(Buttons):
    """The words so far, with buttons. `kept` is the persona that they are for; None makes a new one at `home`."""

    def __init__(
        self, chat: Chat, home: Spot, persona: Persona, kept: Kept | None, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(timeout=OPEN_S)
        self._chat = chat
        self._home = home
        self._persona = persona
        self._kept = kept
        self._notes = notes

    async def show(self, interaction: discord.Interaction) -> None:
        """Show it to who is asking."""
        if not interaction.response.is_done():
            await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.edit_original_response(**await self._looks())

    async def _looks(self) -> dict[str, Any]:
        what = _("Not saved yet.") if self._kept is None else _("These changes are not saved yet.")
        try:
            tokens = await self._chat.cast.check(self._persona)
            ask = _("Try it, change it, or save it.")
            lines = [f"{what} {ask}"]
        except PersonaTooLong as error:
            tokens = error.tokens
            lines = [f"{what} {error}"]
        if self._notes:
            lines += [_("Left out:"), *(f"- {note}" for note in self._notes)]
        return {
            "content": shortened("\n".join(lines), 2000),
            "embed": portrait(self._persona, tokens=tokens),
            "view": self,
            "allowed_mentions": discord.AllowedMentions.none(),
        }

    @discord.ui.button(label=N_("Save"), style=discord.ButtonStyle.primary)
    async def save(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Keep it, for who may still do so."""
        cast = self._chat.cast
        check(interaction, public=False)
        if self._kept is None:
            check_make(interaction, for_me=self._home.scope is Scope.ME)
            kept = await cast.create(self._home, self._persona, interaction.user.id)
        else:
            check_change(interaction, self._kept)
            kept = await cast.edit(self._kept, self._persona, interaction.user.id)
        self.stop()
        name = called(kept.persona)
        await interaction.response.edit_message(
            content=_("**{name}** is saved. `/persona set name:{typed}` lets it talk.").format(
                name=name, typed=in_code(kept.persona)
            ),
            view=None,
        )
        did = N_("made the persona **{name}**") if self._kept is None else N_("changed the persona **{name}**")
        await note_about(interaction, kept, lambda: _(did).format(name=name))

    @discord.ui.button(label=N_("Try it"), style=discord.ButtonStyle.secondary)
    async def try_it(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Ask for a line, and let it answer."""
        persona = self._persona

        async def said(interaction: discord.Interaction, line: str) -> None:
            await answer_trial(self._chat, interaction, persona, line)

        await interaction.response.send_modal(LineForm(persona, said))

    @discord.ui.button(label=N_("Change"), style=discord.ButtonStyle.secondary)
    async def change(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Open the form again."""

        async def done(interaction: discord.Interaction, persona: Persona) -> None:
            self._persona = persona
            await interaction.response.edit_message(**await self._looks())

        await interaction.response.send_modal(PersonaForm(_("Change the persona"), typed(self._persona), done))

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


async def answer_trial(chat: Chat, interaction: discord.Interaction, persona: Persona, line: str) -> None:
    """Let the persona answer one line, seen by who asks alone; nothing of it is kept."""
    check(interaction, public=False)
    check_talks(interaction)
    await interaction.response.defer(ephemeral=True, thinking=True)
    reply = await chat.trial(persona, line, place_of(interaction))
    said = f"> {discord.utils.escape_markdown(line)}\n**{called(persona)}**: {reply.text}"
    await finish(interaction, shortened(said, 2000), public=False)

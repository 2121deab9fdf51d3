"""The forms of `/persona`: a persona's words, and a line to try one."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple, Self

import discord

from bot.speaking import Buttons, Speaking
from persona_chat.errors import InputError
from persona_chat.language import N_, _
from persona_chat.persona import (
    ABOUT_CHARACTERS,
    FACTS_CHARACTERS,
    GREETING_CHARACTERS,
    NAME_CHARACTERS,
    Persona,
    checked_avatar,
    make_persona,
    split_facts,
)

if TYPE_CHECKING:
    from bot.client import PersonaBot

Done = Callable[[discord.Interaction, Persona], Awaitable[None]]
Said = Callable[[discord.Interaction, str], Awaitable[None]]

OPEN_S = 840.0
"""How long a button waits: a little less than Discord lets its message be changed."""

NO_AVATAR = "none"


class Typed(NamedTuple):
    """What stands in a form, and what a persona has besides, which no form changes."""

    name: str = ""
    about: str = ""
    facts: str = ""
    greeting: str = ""
    age_restricted: bool = False
    avatar_url: str = ""


def typed(persona: Persona) -> Typed:
    """The persona's words as a form holds them."""
    facts = "\n".join(persona.facts)
    return Typed(persona.name, persona.about, facts, persona.greeting, persona.age_restricted, persona.avatar_url)


def changed(filled: Typed, age_restricted: bool | None, avatar: str | None) -> Typed:
    """The same with what the options of a command say. Raises InputError for a picture that cannot be used."""
    if age_restricted is not None:
        filled = filled._replace(age_restricted=age_restricted)
    if avatar is not None:
        filled = filled._replace(avatar_url="" if avatar == NO_AVATAR else checked_avatar(avatar))
    return filled


class PersonaForm(Speaking, discord.ui.Modal):
    """A persona's words, filled with those that are there. `done` gets what was typed."""

    def __init__(self, title: str, filled: Typed, done: Done) -> None:
        super().__init__(title=title)
        self._filled = filled
        self._done = done
        self.name_field = discord.ui.TextInput[Self](
            max_length=NAME_CHARACTERS, default=filled.name or None, placeholder="Vera"
        )
        self.about_field = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=ABOUT_CHARACTERS,
            required=False,
            default=filled.about or None,
            placeholder=_("My name is Vera. I keep a lighthouse in Norway."),
        )
        self.facts_field = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=FACTS_CHARACTERS,
            required=False,
            default=filled.facts or None,
            placeholder=_("I have a parrot called Pickles.\nI love playing chess."),
        )
        self.greeting_field = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph,
            max_length=GREETING_CHARACTERS,
            required=False,
            default=filled.greeting or None,
            placeholder=_("Hello there! Mind the stairs."),
        )
        self.add_item(discord.ui.Label(text=_("Name"), component=self.name_field))
        self.add_item(
            discord.ui.Label(text=_("About"), description=_("Who it is, in your words."), component=self.about_field)
        )
        self.add_item(
            discord.ui.Label(
                text=_("Facts"),
                description=_("Short sentences it says of itself, one a line."),
                component=self.facts_field,
            )
        )
        self.add_item(
            discord.ui.Label(
                text=_("Greeting"),
                description=_("What it says when it comes into a channel."),
                component=self.greeting_field,
            )
        )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Hand on what was typed. What cannot be used comes back, to be changed."""
        given = self._filled._replace(
            name=self.name_field.value,
            about=self.about_field.value,
            facts=self.facts_field.value,
            greeting=self.greeting_field.value,
        )
        try:
            persona = make_persona(
                given.name,
                given.about,
                split_facts(given.facts),
                given.greeting,
                age_restricted=given.age_restricted,
                avatar_url=given.avatar_url,
            )
        except InputError as error:
            again = PersonaForm(self.title, given, self._done)
            await interaction.response.send_message(str(error), view=Again(again), ephemeral=True)
            return
        await self._done(interaction, persona)

    async def on_error(  # type: ignore[override]  # discord.py declares a view's, and calls a modal's
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


class Again(Buttons):
    """A button that opens a form once more, with what was typed."""

    def __init__(self, form: discord.ui.Modal) -> None:
        super().__init__(timeout=OPEN_S)
        self._form = form

    @discord.ui.button(label=N_("Change"), style=discord.ButtonStyle.primary)
    async def change(self, interaction: discord.Interaction, _button: discord.ui.Button[Self]) -> None:
        """Open the form."""
        await interaction.response.send_modal(self._form)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception, _item: discord.ui.Item[Self]
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)


class LineForm(Speaking, discord.ui.Modal):
    """One line to say to a persona. `said` gets it."""

    def __init__(self, persona: Persona, said: Said) -> None:
        super().__init__(title=_("Say something to {name}").format(name=persona.name)[:45])
        self._said = said
        self.line = discord.ui.TextInput[Self](max_length=300, placeholder=_("What do you do all day?"))
        self.add_item(discord.ui.Label(text=_("Your message"), component=self.line))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Hand on what was typed."""
        await self._said(interaction, self.line.value)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)

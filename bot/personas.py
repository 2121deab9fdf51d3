"""`/persona`: set, show and clear a channel's persona."""

import discord
from discord import app_commands

from persona_chat.chat import Chat
from persona_chat.errors import InputError, PersonaChatError
from persona_chat.persona import (
    ABOUT_CHARACTERS,
    NAME_CHARACTERS,
    Persona,
    make_persona,
    split_facts,
)

NOBODY = "This channel has no persona. Set one with `/persona set`."


class PersonaCommands(app_commands.Group):
    """Who talks in a channel. `note` is added when a persona is set, where the operator has something to say."""

    def __init__(self, chat: Chat, note: str | None = None) -> None:
        super().__init__(name="persona", description="Choose who talks in this channel")
        self._chat = chat
        self._note = note

    @app_commands.command(name="set")
    @app_commands.describe(
        name="What the persona is called",
        about="Who it is, in your words",
        facts='Short sentences it says of itself, such as "I have two dogs. I live by the sea."',
    )
    async def set(
        self,
        interaction: discord.Interaction,
        name: app_commands.Range[str, 1, NAME_CHARACTERS] | None = None,
        about: app_commands.Range[str, 1, ABOUT_CHARACTERS] | None = None,
        facts: str | None = None,
    ) -> None:
        """Set this channel's persona; without options a form opens."""
        if name is about is facts is None:
            current = await self._chat.persona(_channel(interaction))
            await interaction.response.send_modal(PersonaForm(self, current))
            return
        if name is None:
            raise InputError("The persona needs a name: give the option `name` as well.")
        await self.put(interaction, make_persona(name, about or "", split_facts(facts or "")))

    @app_commands.command(name="show")
    async def show(self, interaction: discord.Interaction) -> None:
        """Show who talks in this channel."""
        persona = await self._chat.persona(_channel(interaction))
        if persona is None:
            await interaction.response.send_message(NOBODY, ephemeral=True)
        else:
            await interaction.response.send_message(embed=portrait(persona), ephemeral=True)

    @app_commands.command(name="clear")
    async def clear(self, interaction: discord.Interaction) -> None:
        """Remove this channel's persona; the bot falls silent here."""
        before = await self._chat.clear_persona(_channel(interaction))
        if before is None:
            await interaction.response.send_message(NOBODY, ephemeral=True)
        else:
            await interaction.response.send_message(f"**{called(before)}** has left this channel.")

    async def put(self, interaction: discord.Interaction, persona: Persona) -> None:
        """Give the channel the persona and say so, or leave everything as it was and raise."""
        # Before the answer is deferred: a deferred answer is seen by all, and a refusal is for one.
        await self._chat.check_persona(persona)
        await interaction.response.defer(thinking=True)
        before = await self._chat.set_persona(_channel(interaction), persona, interaction.guild_id)
        if before == persona:
            line = f"**{called(persona)}** is talking here already."
        elif before is None or before.name == persona.name:
            line = f"**{called(persona)}** is talking here now."
        else:
            line = f"**{called(persona)}** is talking here now, in place of **{called(before)}**."
        line = line if self._note is None else f"{line}\n-# {self._note}"
        await interaction.edit_original_response(content=line, embed=portrait(persona))


class PersonaForm(discord.ui.Modal, title="Who talks in this channel?"):
    """The form of `/persona set`, filled with the persona that is there."""

    def __init__(self, commands: PersonaCommands, current: Persona | None) -> None:
        super().__init__()
        self._commands = commands
        # Text that a form is filled with has the form's own limits; the rest is shown by `/persona show`.
        self.name_field = discord.ui.TextInput[PersonaForm](
            max_length=NAME_CHARACTERS, default=current.name if current else None, placeholder="Vera"
        )
        self.about_field = discord.ui.TextInput[PersonaForm](
            style=discord.TextStyle.paragraph,
            max_length=ABOUT_CHARACTERS,
            required=False,
            default=current.about if current else None,
            placeholder="My name is Vera. I keep a lighthouse in Norway.",
        )
        self.facts_field = discord.ui.TextInput[PersonaForm](
            style=discord.TextStyle.paragraph,
            max_length=4000,
            required=False,
            default="\n".join(current.facts)[:4000] if current else None,
            placeholder="I have a parrot called Pickles.\nI love playing chess.",
        )
        self.add_item(discord.ui.Label(text="Name", component=self.name_field))
        self.add_item(
            discord.ui.Label(text="About", description="Who it is, in your words.", component=self.about_field)
        )
        self.add_item(
            discord.ui.Label(
                text="Facts",
                description="Short sentences it says of itself, one a line.",
                component=self.facts_field,
            )
        )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Set the persona that was typed."""
        persona = make_persona(self.name_field.value, self.about_field.value, split_facts(self.facts_field.value))
        await self._commands.put(interaction, persona)

    async def on_error(  # type: ignore[override]  # discord.py declares a view's, and calls a modal's
        self, interaction: discord.Interaction, error: Exception
    ) -> None:
        """Hand errors to the one funnel for commands."""
        wrapped = app_commands.CommandInvokeError(self._commands.set, error)
        await interaction.client.tree.on_error(interaction, wrapped)  # type: ignore[attr-defined]


def portrait(persona: Persona) -> discord.Embed:
    """The persona as a card, cut to what an embed may hold."""
    parts = [persona.about, "\n".join(f"• {fact}" for fact in persona.facts)]
    body = discord.utils.escape_markdown("\n\n".join(part for part in parts if part))
    body = body if len(body) <= 4096 else f"{body[:4095]}…"
    return discord.Embed(title=called(persona)[:256], description=body)


def called(persona: Persona) -> str:
    """The persona's name, with nothing in it that Discord would format."""
    return discord.utils.escape_markdown(persona.name)


def _channel(interaction: discord.Interaction) -> int:
    if interaction.channel_id is None:
        raise PersonaChatError("This only works in a channel.")
    return interaction.channel_id

"""The form with the words that a server's filter stops, one a line."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

import discord

from bot.persona_form import Again
from bot.speaking import Speaking
from persona_chat.errors import InputError
from persona_chat.language import _
from persona_chat.word_filter import WORD_CHARACTERS, WORDS, typed_words

if TYPE_CHECKING:
    from bot.client import PersonaBot

Done = Callable[[discord.Interaction, tuple[str, ...]], Awaitable[None]]

CHARACTERS = 4000
"""As many as Discord lets somebody type into a field."""


class WordForm(Speaking, discord.ui.Modal):
    """Filled with the words that there are. `done` gets what was typed."""

    def __init__(self, filled: str, done: Done) -> None:
        super().__init__(title=_("Words that are stopped"))
        self._done = done
        self.words = discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph, max_length=CHARACTERS, required=False, default=filled or None
        )
        limits = _("At most {words}, each of at most {characters} characters; compared as whole words.")
        described = limits.format(words=WORDS, characters=WORD_CHARACTERS)
        self.add_item(discord.ui.Label(text=_("One a line"), description=described, component=self.words))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        """Hand on what was typed. What cannot be used comes back, to be changed."""
        try:
            words = typed_words(self.words.value)
        except InputError as error:
            again = WordForm(self.words.value, self._done)
            await interaction.response.send_message(str(error), view=Again(again), ephemeral=True)
            return
        await self._done(interaction, words)

    async def on_error(  # type: ignore[override]
        self, interaction: "discord.Interaction[PersonaBot]", error: Exception
    ) -> None:
        """Hand errors to the one funnel."""
        await interaction.client.failed(interaction, error)

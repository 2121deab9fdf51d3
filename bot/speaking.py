"""Discord's locales: in which language an answer, a button and a command's name are. It knows no texts.

Whoever uses a command or a button is answered in the language of their Discord, also where others see it: only
Community servers can choose a language, so a server's own says little.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from persona_chat.language import LANGUAGES, _, language_of, pgettext, speak, speaking

REMEMBERED = 1000
"""Of so many people it is remembered, in memory only, which language they had last: messages do not tell it."""

CAME = "came"
"""Under this name an interaction says when it came, by the clock that nobody sets."""

COMMAND, MENU, OPTION, CHOICE = "command", "menu", "option", "choice"
"""The contexts of names in the catalogues; descriptions have none."""

_Where = app_commands.TranslationContextLocation
_CONTEXTS = {
    _Where.command_name: COMMAND,
    _Where.group_name: COMMAND,
    _Where.parameter_name: OPTION,
    _Where.choice_name: CHOICE,
}


class Languages:
    """The language for those who write messages, and for what everybody in a channel sees."""

    def __init__(self) -> None:
        self._last: OrderedDict[int, str] = OrderedDict()

    def hear(self, interaction: discord.Interaction[Any]) -> None:
        """Speak to who uses this from now on, in this task, and remember how."""
        locale = str(interaction.locale)
        speak(locale)
        self._last[interaction.user.id] = locale
        self._last.move_to_end(interaction.user.id)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def of(self, guild: discord.Guild | None, person_id: int | None = None) -> str:
        """The locale in a server, or with a person: the server's where it chose one, else the person's, else English.

        A server that never chose says American English, as does one that cannot choose.
        """
        english = str(discord.Locale.american_english)
        if guild is not None and ("COMMUNITY" in guild.features or str(guild.preferred_locale) != english):
            return str(guild.preferred_locale)
        return self._last.get(person_id or 0, english)

    def to(self, person_id: int, guild: discord.Guild | None) -> str:
        """The locale for what one person alone reads, who used something in that server."""
        return self._last.get(person_id) or self.of(guild)


class Speaking:
    """What commands, buttons and forms have in common: they answer in the language of who uses them.

    A check is the only place of discord.py's that runs in the very task that answers.
    """

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        """Let everybody, and know their language, and when they came."""
        interaction.client.languages.hear(interaction)
        interaction.extras[CAME] = time.monotonic()
        return True


class Commands(Speaking, app_commands.CommandTree[Any]):
    """Our commands."""


class Buttons(Speaking, discord.ui.View):
    """Buttons with their labels, which are marked with `N_`, in the language of now."""

    def __init__(self, *, timeout: float | None) -> None:
        super().__init__(timeout=timeout)
        for item in self.children:
            if isinstance(item, discord.ui.Button) and item.label:
                item.label = _(item.label)


class Chosen(app_commands.Transformer):
    """One of the members of a StrEnum, as an option of a command: people choose by their texts, marked with `N_`."""

    def __init__(self, texts: Mapping[Any, str]) -> None:
        self._kind = type(next(iter(texts)))
        self._texts = texts

    @property
    def choices(self) -> list[app_commands.Choice[str | int | float]]:
        """What Discord shows."""
        return [app_commands.Choice(name=locale_str(text), value=one.value) for one, text in self._texts.items()]

    async def transform(self, _interaction: discord.Interaction, value: str) -> Any:
        """Return the member."""
        return self._kind(value)


class Names(app_commands.Translator):
    """Tells Discord the names and descriptions of commands, their options and choices, in every language we have."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """Return it in that language; None leaves it English."""
        if language_of(str(locale)) not in LANGUAGES:
            return None
        name = _CONTEXTS.get(context.location)
        if isinstance(context.data, app_commands.ContextMenu):
            name = MENU
        with speaking(str(locale)):
            translated = pgettext(name, string.message) if name else _(string.message)
        return translated if translated != string.message else None


def command(qualified: str) -> str:
    """A command's name with its group's, as Discord shows it in the language of now."""
    return "/" + " ".join(pgettext(COMMAND, part) for part in qualified.split())

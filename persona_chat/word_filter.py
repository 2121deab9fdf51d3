"""Which words a server does not want to read or hear: lists of words, and whether a text holds one. Pure.

Words are compared whole. Case, accents, full-width and styled letters, and characters that cannot be seen make no
difference. What is spelled in another way on purpose (sh1t, s h i t, letters of another alphabet) gets through.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from persona_chat.errors import InputError
from persona_chat.heard import encodable
from persona_chat.language import N_, _, grouped

WORDS = 200
"""The most words of its own that a server may have."""

WORD_CHARACTERS = 60

BUILT_IN = Path(__file__).parent / "words" / "english.txt"

# Fillers of Hangul and Braille count as letters and show nothing.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800")

# Discord takes these for formatting, and shows b**a**d as one word.
_FORMATTING = str.maketrans("", "", "*_~|`\\")


class Side(StrEnum):
    """What is read through the filter: what people say, what personas say, or both."""

    INPUT = "input"
    OUTPUT = "output"
    BOTH = "both"
    OFF = "off"


def side_of(*, reads_input: bool, reads_output: bool) -> Side:
    """The side of a filter that reads these."""
    if reads_input:
        return Side.BOTH if reads_output else Side.INPUT
    return Side.OUTPUT if reads_output else Side.OFF


class Listed(StrEnum):
    """Which list a word is on, for people; it goes through `_` where it is shown."""

    BUILT_IN = N_("the built-in list")
    OWN = N_("the server's own list")


@dataclass(frozen=True)
class WordList:
    """Words and phrases as they are compared, each between spaces. Reading a text takes its length times their number.

    There are no patterns in it: a list that somebody typed can make it wrong, but never slow.
    """

    entries: frozenset[str] = frozenset()

    def has(self, text: str) -> bool:
        """Whether the text holds one of them."""
        return bool(self.entries) and any(entry in reading for reading in _readings(text) for entry in self.entries)


@dataclass(frozen=True)
class Filtering:
    """What a server set: for which side, with the built-in list or without, and with which words of its own."""

    side: Side = Side.OFF
    built_in: bool = True
    words: tuple[str, ...] = ()

    @property
    def reads_input(self) -> bool:
        """Whether what people say is looked at."""
        return self.side in (Side.INPUT, Side.BOTH)

    @property
    def reads_output(self) -> bool:
        """Whether what personas say is looked at."""
        return self.side in (Side.OUTPUT, Side.BOTH)


NO_FILTERING = Filtering()
NO_WORDS = WordList()


@dataclass(frozen=True)
class WordFilter:
    """A server's filter, ready to be asked."""

    filtering: Filtering = NO_FILTERING
    built_in: WordList = NO_WORDS
    own: WordList = NO_WORDS

    def stops_input(self, text: str) -> Listed | None:
        """Return the list with a word that a person said, if there is one."""
        return self._found(text) if self.filtering.reads_input else None

    def stops_output(self, *texts: str) -> Listed | None:
        """Return the list with a word that a persona would say, if there is one."""
        return self._found("\n".join(texts)) if self.filtering.reads_output else None

    def _found(self, text: str) -> Listed | None:
        if self.own.has(text):
            return Listed.OWN
        return Listed.BUILT_IN if self.filtering.built_in and self.built_in.has(text) else None


def word_list(words: Iterable[str]) -> WordList:
    """Return the words as they are compared; what has neither letter nor digit in it is left out."""
    return WordList(frozenset(f" {entry} " for word in words if (entry := _spaced(_folded(word)))))


def built_in_list() -> WordList:
    """Read the list that comes with the bot."""
    lines = BUILT_IN.read_text(encoding="utf-8").splitlines()
    return word_list(line for line in lines if not line.startswith("#"))


def typed_words(text: str) -> tuple[str, ...]:
    """Return the words that somebody typed, one a line, each once. Raises InputError for too many or too long ones."""
    lines = dict.fromkeys(" ".join(line.split()) for line in encodable(text).splitlines())
    words = tuple(line for line in lines if line)
    if len(words) > WORDS:
        text = _("That are {number} words; {allowed} are allowed.")
        raise InputError(text.format(number=grouped(len(words)), allowed=WORDS))
    for word in words:
        if len(word) > WORD_CHARACTERS:
            text = _("The word that begins with “{beginning}” is longer than {allowed} characters.")
            raise InputError(text.format(beginning=word[:20], allowed=WORD_CHARACTERS))
        if not _spaced(_folded(word)):
            text = _("“{word}” has neither a letter nor a digit in it, so it would never be found.")
            raise InputError(text.format(word=word))
    return words


def _readings(text: str) -> tuple[str, str]:
    """The text as words between spaces: with marks of formatting between words, and with those left out."""
    folded = _folded(text)
    return f" {_spaced(folded)} ", f" {_spaced(folded.translate(_FORMATTING))} "


def _spaced(folded: str) -> str:
    return " ".join("".join(character if character.isalnum() else " " for character in folded).split())


def _folded(text: str) -> str:
    # One character after the other: the sorting of a long run of combining marks takes time as its square.
    return "".join(map(_plain, text))


@lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    """The character as it is compared: without case, accents and forms; nothing of what cannot be seen."""
    apart = unicodedata.normalize("NFKD", character)
    return "".join(part for part in apart if _is_shown(part)).casefold()


def _is_shown(character: str) -> bool:
    hidden = unicodedata.category(character) in ("Mn", "Me", "Cf", "Cc") or unicodedata.combining(character)
    return character.isspace() or not (hidden or character in _BLANK)

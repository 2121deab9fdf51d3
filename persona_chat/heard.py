"""A message somebody said to the bot, as plain values. It knows nothing of Discord's objects."""

import unicodedata
from dataclasses import dataclass

from persona_chat.place import Place


@dataclass(frozen=True)
class Heard:
    """One message, by Discord's id; `text` is what was said, `speaker_name` who it shows as saying it.

    `answers` is the id of the message that it replies to, if it does.
    """

    message_id: int
    place: Place
    speaker_name: str
    text: str
    answers: int | None = None


def encodable(text: str) -> str:
    """Replace half characters (lone surrogates): JSON may carry them, no file or database can hold them."""
    return text.encode("utf-8", "replace").decode()


MARKS = 3
"""So many accents on one letter are read; Hebrew and Vietnamese need no more."""


def legible(text: str) -> str:
    """Return a name or a persona's words without what shows nothing or turns what is beside it round.

    That are controls but line breaks, marks of direction (U+202A to U+202E, U+2066 to U+2069), characters of no width,
    and all but three accents of a letter. What joins stays where it joins: in emoji, flags, Arabic and Indic letters.
    """
    kept: list[str] = []
    marks = 0
    for character in encodable(text):
        kind = unicodedata.category(character)
        marks = marks + 1 if kind in ("Mn", "Me") else 0 if kind != "Cf" else marks
        if marks > MARKS or (kind in ("Cc", "Cf") and not _stays(character, kept[-1] if kept else "")):
            continue
        kept.append(character)
    return "".join(kept)


def _stays(character: str, before: str) -> bool:
    """Whether this character that shows nothing is needed after the one before it."""
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":
        return True
    if not before:
        return False
    if "\U000e0020" <= character <= "\U000e007f":  # of what flags of countries within a country are made
        return before == "\U0001f3f4" or "\U000e0020" <= before <= "\U000e007e"
    joins = before == "\ufe0f" or unicodedata.category(before) in ("So", "Sk")
    joins = joins or unicodedata.bidirectional(before) == "AL" or unicodedata.combining(before) == 9
    return character in "\u200c\u200d" and joins

"""The persona: who the bot plays. It knows its own limits, and nothing of prompts or storage."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from persona_chat.errors import InputError
from persona_chat.heard import legible
from persona_chat.language import _

NAME_CHARACTERS = 80
ABOUT_CHARACTERS = 4000
FACTS = 50
FACT_CHARACTERS = 400
FACTS_CHARACTERS = 4000  # of all facts as lines: a form of Discord can hold no more
GREETING_CHARACTERS = 1500
AVATAR_CHARACTERS = 500

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


@dataclass(frozen=True)
class Persona:
    """Who the bot plays.

    `about` is the persona in its owner's words, `facts` are short first-person sentences
    ("I have two dogs."). Either may be empty, not both. `greeting` is said when it is set somewhere; the model never
    reads it. An `age_restricted` one talks only where Discord lets nobody in who is too young. `avatar_url` is the
    address of its picture, which Discord fetches, never this program.
    """

    name: str
    about: str = ""
    facts: tuple[str, ...] = ()
    greeting: str = ""
    age_restricted: bool = False
    avatar_url: str = ""


def make_persona(
    name: str,
    about: str = "",
    facts: Iterable[str] = (),
    greeting: str = "",
    *,
    age_restricted: bool = False,
    avatar_url: str = "",
) -> Persona:
    """Make a persona from what a person typed, trimmed, or raise InputError that says what to change.

    Line breaks in `about` and `greeting` stay; each fact is one line. Limits are in characters; the token budget is the
    engine's to check.
    """
    name = " ".join(legible(name).split())
    about, greeting = _lines(about), _lines(greeting)
    kept = tuple(fact for fact in (" ".join(legible(fact).split()) for fact in facts) if fact)
    if not _shows(name):
        raise InputError(_("A persona needs a name that can be read."))
    if len(name) > NAME_CHARACTERS:
        raise _too_long(_("The name has {number} characters; {allowed} are allowed."), len(name), NAME_CHARACTERS)
    if not about and not kept:
        raise InputError(_("Say something about the persona: in `about`, as facts, or both."))
    if len(about) > ABOUT_CHARACTERS:
        raise _too_long(_("`about` has {number} characters; {allowed} are allowed."), len(about), ABOUT_CHARACTERS)
    if len(kept) > FACTS:
        raise _too_long(_("There are {number} facts; {allowed} are allowed."), len(kept), FACTS)
    for which, fact in enumerate(kept, 1):
        if len(fact) > FACT_CHARACTERS:
            text = _("Fact {which} has {number} characters; {allowed} are allowed.")
            raise _too_long(text, len(fact), FACT_CHARACTERS, which=which)
    if (characters := len("\n".join(kept))) > FACTS_CHARACTERS:
        text = _("The facts have {number} characters together; {allowed} are allowed.")
        raise _too_long(text, characters, FACTS_CHARACTERS)
    if len(greeting) > GREETING_CHARACTERS:
        text = _("The greeting has {number} characters; {allowed} are allowed.")
        raise _too_long(text, len(greeting), GREETING_CHARACTERS)
    return Persona(name, about, kept, greeting, age_restricted, checked_avatar(avatar_url))


def checked_avatar(address: str) -> str:
    """Return the address of a picture, trimmed; empty for none. Raises InputError that says what to change."""
    address = address.strip()
    if len(address) > AVATAR_CHARACTERS:
        text = _("The picture's address has {number} characters; {allowed} are allowed.")
        raise _too_long(text, len(address), AVATAR_CHARACTERS)
    if address and not _leads_somewhere(address):
        raise InputError(_("The picture must be the address of an image that everybody can open: `https://…`."))
    return address


def _too_long(text: str, has: int, allowed: int, **more: int) -> InputError:
    return InputError(text, number=has, allowed=allowed, **more)


def _leads_somewhere(address: str) -> bool:
    """Whether it may be the address of something on the web, as Discord takes it."""
    try:
        parts = urlsplit(address)
        public = parts.scheme == "https" and "." in (parts.hostname or "") and parts.username is parts.password is None
    except ValueError:  # half an IPv6 address
        return False
    return public and address.isascii() and address.isprintable() and not set(address) & set(' <>"\\`')


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in legible(text).strip().splitlines())


def split_facts(text: str) -> tuple[str, ...]:
    """Read facts typed into one field: one a line, or sentences in one line. List marks are dropped."""
    lines = [re.sub(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) != 1:
        return tuple(lines)
    return tuple(part.strip() for part in re.split(r"(?<=[.!?])\s+|\s*;\s*", lines[0]) if part.strip())


def _shows(name: str) -> bool:
    """Whether there is something to see in the name: an emoji is, a lone zero-width space is not."""
    return any(unicodedata.category(character) not in _INVISIBLE and not character.isspace() for character in name)

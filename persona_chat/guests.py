"""Personas that talk in a channel besides who was set for it, when they are called. Knows no Discord and no SQL."""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from persona_chat.errors import InputError
from persona_chat.heard import legible
from persona_chat.language import N_, _
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.guests import Guest, GuestBook
from persona_chat.store.library import Kept, key_of

MOST = 8
"""Guests at one spot: as many as people can keep apart, and few enough to look for in every message."""

TRIGGER_CHARACTERS = 40

TRIGGER_SIGNS = 2
"""Letters and digits that a trigger has at least: a lone one is in too much that people say."""


@dataclass(frozen=True)
class Called:
    """What a persona answers to."""

    persona_id: int
    words: tuple[str, ...]


class Guests:
    """Who is invited where, in memory and in the store. A thread has its channel's guests as well."""

    def __init__(self, book: GuestBook) -> None:
        self._book = book
        self._at: dict[Spot, tuple[Guest, ...]] = {}

    async def look_again(self) -> None:
        """Read who is invited where: at the start, and after personas changed."""
        self._at = await asyncio.to_thread(self._book.all)

    def at(self, place: Place) -> tuple[Guest, ...]:
        """Return who is invited there, those of the thread before those of its channel, the longest there first."""
        spots = [spot for scope in (Scope.THREAD, Scope.CHANNEL) if (spot := place.find(scope)) is not None]
        return tuple(guest for spot in spots for guest in self._at.get(spot, ()))

    def named(self, place: Place, text: str) -> int | None:
        """Return the id of the guest that a text calls."""
        guests = self.at(place)
        return called(text, map(answers_to, guests)) if guests else None

    async def invite(self, spot: Spot, kept: Kept, trigger: str, by: int) -> Guest:
        """Let a persona answer there when it is called; once more changes its trigger. Raises InputError."""
        word = " ".join(legible(trigger).split())
        others = [guest for guest in self._at.get(spot, ()) if guest.persona_id != kept.id]
        if word and sum(map(str.isalnum, word)) < TRIGGER_SIGNS:
            text = _("A trigger needs at least {number} letters or digits: it is to be a word that calls the persona.")
            raise InputError(text.format(number=TRIGGER_SIGNS))
        check(kept.persona.name, word, others)
        await asyncio.to_thread(self._book.invite, spot, kept.id, word, by)
        await self.look_again()
        return next(guest for guest in self._at[spot] if guest.persona_id == kept.id)

    async def dismiss(self, place: Place, name: str) -> Guest | None:
        """Let the guest of that name, or trigger, go; return who that was."""
        wanted = key_of(name)
        for guest in self.at(place):
            if wanted in map(key_of, answers_to(guest).words):
                await asyncio.to_thread(self._book.dismiss, guest.spot, guest.persona_id)
                await self.look_again()
                return guest
        return None


def check(name: str, trigger: str, others: Iterable[Guest]) -> None:
    """Raise InputError where one more cannot come, or would be called as somebody who is there."""
    others = tuple(others)
    if len(others) >= MOST:
        text = _("There are {number} guests here, and more cannot be. Let one go with `/persona guest dismiss`.")
        raise InputError(text.format(number=MOST))
    taken = {key_of(word): guest for guest in others for word in answers_to(guest).words}
    for word in filter(None, (name, trigger)):
        if (guest := taken.get(key_of(word))) is not None:
            text = N_("{name} answers to “{word}” here already. Choose another word.")
            raise InputError(text, name=guest.name, word=word)


def answers_to(guest: Guest) -> Called:
    """What this guest answers to."""
    return Called(guest.persona_id, tuple(filter(None, (guest.name, guest.trigger))))


def called(text: str, everybody: Iterable[Called]) -> int | None:
    """Return the id of who is called first in the text; of two at one place it is the longer name."""
    said = " ".join(text.casefold().split())
    found = [
        (match.start(), -len(word), one.persona_id)
        for one in everybody
        for word in map(key_of, one.words)
        if (match := re.search(_alone(word), said)) is not None
    ]
    return min(found)[2] if found else None


def _alone(word: str) -> str:
    """The word, not as a part of a longer one: where letters have capitals, words have spaces between them."""
    before = r"(?<!\w)" if word[0].upper() != word[0] or word[0].isdecimal() else ""
    after = r"(?!\w)" if word[-1].upper() != word[-1] or word[-1].isdecimal() else ""
    return f"{before}{re.escape(word)}{after}"

"""What people think of replies: verdicts, and what should have been said. Knows no Discord and no SQL.

It is counted and read by those who run the bot. No training reads it.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from persona_chat.errors import InputError
from persona_chat.heard import encodable
from persona_chat.language import N_, _, grouped
from persona_chat.rework import NOT_MINE
from persona_chat.store.answers import Answer, Version
from persona_chat.store.feedback import Mine, Suggestion, Tally, Thumb
from persona_chat.store.ledger import What
from persona_chat.store.store import Store

SUGGESTION_CHARACTERS = 2000
ENOUGH = 10
"""Verdicts from which on an interval says something: of fewer it spans more than half of all shares."""

SHOWN = 100
"""Suggestions that are read at once."""

_Z = 1.96  # of a normal distribution 95 % lies so many deviations around the mean

OPTED_OUT = N_("You opted out, so I keep no feedback of yours. `/privacy opt-in` ends that.")
BY_A_PERSON = N_("A person wrote these words. Feedback is about what the model writes.")
GONE = N_("That version of the reply is not there any more.")


@dataclass(frozen=True)
class Opinion:
    """What a person thinks of a version of an answer. `versions` is how many there are."""

    message_id: int
    number: int
    versions: int
    mine: Mine


@dataclass(frozen=True)
class Share:
    """The share of 👍 among verdicts, from 0 to 1, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Feedback:
    """Verbs about what people think, named by Discord's id of the message that was answered.

    `opted_out` says of a person whether nothing is to be kept of them.
    """

    def __init__(self, store: Store, opted_out: Callable[[int], bool]) -> None:
        self._store = store
        self._opted_out = opted_out

    async def of(self, message_id: int, person_id: int) -> Opinion:
        """Return what a person thinks of the version that is shown. The id may also be the answer's.

        Raises InputError when there is no such answer.
        """
        answer = await self._find(message_id)
        mine = await asyncio.to_thread(self._store.feedback.of, answer.message_id, answer.shown, person_id)
        return Opinion(answer.message_id, answer.shown, len(answer.versions), mine)

    async def check(self, message_id: int, number: int, person_id: int) -> None:
        """Raise InputError unless this person may say what they think of that version."""
        if self._opted_out(person_id):
            raise InputError(_(OPTED_OUT))
        version = _version(await self._find(message_id), number)
        if version.how is not None and "edited_by" in version.how:
            raise InputError(_(BY_A_PERSON))

    async def judge(self, message_id: int, number: int, person_id: int, thumb: Thumb | None) -> None:
        """Keep a person's verdict on that version of the answer to a message; None takes it back. As `check`."""
        await self.check(message_id, number, person_id)
        if not await asyncio.to_thread(self._judge, message_id, number, person_id, thumb):
            raise InputError(_(GONE))

    async def suggest(self, message_id: int, number: int, person_id: int, text: str) -> None:
        """Keep what a person says that version should have been; no words take it back. As `check`."""
        words = " ".join(encodable(text).split())
        if len(words) > SUGGESTION_CHARACTERS:
            text = _("That has {number} characters; {allowed} are allowed.")
            raise InputError(text.format(number=grouped(len(words)), allowed=grouped(SUGGESTION_CHARACTERS)))
        await self.check(message_id, number, person_id)
        if not await asyncio.to_thread(self._suggest, message_id, number, person_id, words):
            raise InputError(_(GONE))

    async def take_back(self, message_id: int, person_id: int, thumb: Thumb) -> None:
        """Let go of that verdict of a person, on whichever versions of the answer it was: also for who opted out."""
        await asyncio.to_thread(self._take_back, message_id, person_id, thumb)

    async def tallies(self) -> tuple[Tally, ...]:
        """Return the counts by adapter."""
        return await asyncio.to_thread(self._store.feedback.tallies)

    async def suggestions(self) -> tuple[Suggestion, ...]:
        """Return the newest suggestions, the newest first."""
        return await asyncio.to_thread(self._store.feedback.suggestions, SHOWN)

    def _judge(self, message_id: int, number: int, person_id: int, thumb: Thumb | None) -> bool:
        there = self._store.feedback.of(message_id, number, person_id).thumb is not None
        with self._noted("thumb taken back", thumb is None and there, message_id, person_id, number):
            return self._store.feedback.judge(message_id, number, person_id, thumb)

    def _suggest(self, message_id: int, number: int, person_id: int, words: str) -> bool:
        there = bool(self._store.feedback.of(message_id, number, person_id).suggestion)
        with self._noted("suggestion taken back", not words and there, message_id, person_id, number):
            return self._store.feedback.suggest(message_id, number, person_id, words)

    def _take_back(self, message_id: int, person_id: int, thumb: Thumb) -> None:
        numbers = self._store.feedback.judged(message_id, person_id, thumb)
        with self._noted("thumb taken back", bool(numbers), message_id, person_id, *numbers):
            self._store.feedback.take_back(message_id, person_id, thumb)

    def _noted(self, what: What, taken_back: bool, *ids: int) -> AbstractContextManager[None]:
        """Note it, if something is taken back: most of what people say of replies is new."""
        return self._store.ledger.noted(what, ids) if taken_back else nullcontext()

    async def _find(self, message_id: int) -> Answer:
        answer = await asyncio.to_thread(self._store.answers.find, message_id)
        if answer is None:
            raise InputError(_(NOT_MINE))
        return answer


def share(tally: Tally) -> Share | None:
    """The share of 👍, with Wilson's score interval (1927); None where too few judged.

    It takes verdicts as independent. Those of one person are not quite, so the truth is a little wider.
    """
    count = tally.up + tally.down
    if count < ENOUGH:
        return None
    value = tally.up / count
    middle = value + _Z**2 / (2 * count)
    half = _Z * math.sqrt(value * (1 - value) / count + _Z**2 / (4 * count**2))
    whole = 1 + _Z**2 / count
    return Share(value, max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole))


def _version(answer: Answer, number: int) -> Version:
    for version in answer.versions:
        if version.number == number:
            return version
    raise InputError(_(GONE))

"""What a persona said of itself in turns that do not fit the window any more: facts for a prompt. Knows no store."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from persona_chat import template
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import ReplyRequest
from persona_chat.errors import InputError
from persona_chat.persona import Persona

MOST = 6
"""Notes in a prompt; the newest count."""

RESERVE = 120
"""Tokens that the window leaves for notes."""

LONGEST = 110
"""Characters of a note: facts of the training rows are hardly ever longer."""

_SENTENCE = re.compile(r"(?<=[.!?…])\s+")

# Words before what is said, which say nothing without the question.
_OPENING = re.compile(
    r"^(?:(?:yes|yeah|yep|yup|no|nope|nah|well|oh|ah|haha|sure|of course|actually|indeed|right|exactly|absolutely|"
    r"definitely|certainly|thanks|thank you|sorry|and|but|so|also|hi|hello|hey)\b[\s,.!;:–—-]*)+",
    re.IGNORECASE,
)

_OF_ITSELF = re.compile(r"(?:I|I['’](?:m|ve|d|ll)|My|We|Our|Mine)\b")

# What is about the talk, or about the moment.
_PASSING = re.compile(
    r"I(?:['’]m| am)? (?:also )?(?:(?:do|did|can|could|will|would|am|have)(?:n['’]t| not)?[.!,]|"
    r"(?:think|thought|see|know|hope|guess|agree|mean|bet|wonder|understand|suppose|believe|feel|heard|said|told|"
    r"don['’]t (?:know|think|mind|understand)|would(?:n['’]t)?|will|won['’]t|can(?:['’]t| not)?|could|should|might|may|"
    r"good|fine|well|great|okay|ok|happy to|glad|sorry|sure|afraid|not sure|so|too|just|doing|going|here)\b)"
    r"|I['’](?:d|ll)\b",
    re.IGNORECASE,
)

_WORD = re.compile(r"[\w'’]+")
_EMPTY = frozenset(
    [
        "i",
        "i'm",
        "i've",
        "my",
        "we",
        "our",
        "me",
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "with",
        "is",
        "am",
        "are",
        "was",
        "were",
        "be",
        "been",
        "have",
        "has",
        "had",
        "do",
        "does",
        "did",
        "it",
        "its",
        "that",
        "this",
        "not",
        "very",
        "really",
        "so",
        "too",
        "also",
    ]
)


@dataclass(frozen=True)
class Fitted:
    """What is put to a model: the persona with notes as its last facts, and the turns that fit."""

    persona: Persona
    turns: Dialogue
    notes: tuple[str, ...] = ()


def fit(request: ReplyRequest, budget: int, count: Callable[[str], int], *, steady: bool = True, **how: Any) -> Fitted:
    """Return what fits `budget` tokens of a prompt, notes of the turns that do not among it.

    `how` is what `template.fit` and `template.render` are told. Raises InputError when the last turn alone is too long.
    """
    persona, dialogue = request.persona, request.dialogue
    turns = template.fit(persona, dialogue, budget, count, steady=steady, **how)
    if len(turns) < len(dialogue) and request.unnoted < len(dialogue):
        with suppress(InputError):  # the last turn leaves no room for notes
            turns = template.fit(persona, dialogue, budget - RESERVE, count, steady=steady, **how)
    made = notes(dialogue[request.unnoted : len(dialogue) - len(turns)], persona)
    found = (*request.kept_notes, *made)[-MOST:]
    while found:
        wider = replace(persona, facts=(*persona.facts, *found))
        if count(template.render(wider, turns, **how)) <= budget:
            return Fitted(wider, turns, found)
        found = found[1:]
    return Fitted(persona, turns)


def notes(earlier: Iterable[Turn], persona: Persona) -> tuple[str, ...]:
    """Return what Person B said of itself in these turns, oldest first, without what the persona says already.

    Of two that speak of the same the newer counts. Nothing of what Person A said is in it.
    """
    known = [_content(text) for text in (*_SENTENCE.split(persona.about), *persona.facts)]
    kept: list[tuple[str, frozenset[str]]] = []
    for sentence in (one for turn in earlier if turn.speaker is Speaker.B for one in said_of_itself(turn.text)):
        content = _content(sentence)
        if len(content) < 2 or any(_same(content, other) for other in known):
            continue
        kept = [(text, other) for text, other in kept if not _same(content, other)]
        kept.append((sentence, content))
    return tuple(text for text, _ in kept[-MOST:])


def said_of_itself(text: str) -> list[str]:
    """Return the sentences in which somebody tells of themselves what is so for longer than a moment."""
    found = []
    for sentence in _SENTENCE.split(text):
        plain = _OPENING.sub("", sentence.strip()).strip()
        plain = plain[:1].upper() + plain[1:]
        if plain.endswith("?") or not _OF_ITSELF.match(plain) or _PASSING.match(plain) or len(plain) >= LONGEST:
            continue
        found.append(plain if plain[-1] in ".!…" else f"{plain}.")
    return found


def _content(text: str) -> frozenset[str]:
    words = (word.casefold().replace("’", "'") for word in _WORD.findall(text))
    return frozenset(word.removesuffix("s") if len(word) > 3 else word for word in words if word not in _EMPTY)


def _same(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sentences speak of the same: most words of the shorter one are in the other."""
    return bool(one and other) and len(one & other) >= 0.6 * min(len(one), len(other))

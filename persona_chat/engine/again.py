"""When a reply is drawn a second time, and how: it says nothing, or holds a slot that was never filled."""

import re
import secrets
from dataclasses import replace

from persona_chat.engine.reply import Sampling

WARM = 0.7
"""The temperature of a second try when the first was greedy: not the same again."""

# "[your city]", "{name}", "(name)", "(user's name)", "User 1": in the data that people train on there are such.
_PLACEHOLDER = re.compile(
    r"[\[<{][^\[\]<>{}]*\b(?:name|user|city|place|insert|your)\b[^\[\]<>{}]*[\]>}]"
    r"|\((?:[\w']+ ){0,3}(?:user)?name\)|\b(?:user|participant|speaker)[ _]\d",
    re.IGNORECASE,
)


_BRACKETS = frozenset("([{<")


def has_placeholder(text: str) -> bool:
    """Whether a slot is in it that was never filled."""
    return _PLACEHOLDER.search(text) is not None


def begins_slot(token: str) -> bool:
    """Whether a slot may begin in a token's text."""
    return not _BRACKETS.isdisjoint(token)


def worth_another_try(text: str) -> bool:
    """Whether a first try is better not said. A second one with a slot in it is, rather than nothing."""
    return not text or has_placeholder(text)


def another(sampling: Sampling) -> Sampling:
    """Return how to draw the second time."""
    return replace(sampling, temperature=sampling.temperature or WARM, seed=_another_seed(sampling), slots=False)


def _another_seed(sampling: Sampling) -> int:
    """Greedy replies stay the same every time, also when they are drawn twice."""
    if sampling.seed is not None:
        return sampling.seed + 1
    return secrets.randbits(63) if sampling.temperature > 0 else 0

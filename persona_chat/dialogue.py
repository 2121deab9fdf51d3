"""Turns of a dialogue, and which of them fit the budget. It knows no tokenizer: counting is handed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from zlib import crc32

from persona_chat.errors import InputError
from persona_chat.language import N_


class Speaker(StrEnum):
    """Who says a turn. Everybody in a channel is Person A; the persona is Person B."""

    A = "Persona A"
    B = "Persona B"


@dataclass(frozen=True)
class Turn:
    """One utterance. `name` is the speaker's display name where it is known; it is shown only on request."""

    speaker: Speaker
    text: str
    name: str = ""


Dialogue = tuple[Turn, ...]


def window(
    dialogue: Sequence[Turn], budget: int, count: Callable[[Dialogue], int], *, steady: bool = False
) -> Dialogue:
    """Return the newest turns whose prompt takes at most `budget` tokens.

    `count` gives the tokens of the whole prompt (header, persona, turns and cue) for a dialogue. The oldest
    turns go first, a pair at a time; the last Persona A turn never goes. Raises InputError when not even
    that one fits, and ValueError when the dialogue does not end with Persona A.

    A `steady` window lets go of up to a third more, so that it begins with the same turn for several messages: then
    what was read of it need not be read again. Which turn that is depends on the turns alone: the one whose checksum is
    the smallest.
    """
    if not dialogue or dialogue[-1].speaker is not Speaker.A:
        raise ValueError("a dialogue that wants a reply ends with a Persona A turn")
    if count(tuple(dialogue)) <= budget:  # as most do
        return tuple(dialogue)
    # Prompt length grows with every older turn, so the first start that fits can be found by halving.
    starts = [*range(0, len(dialogue) - 1, 2), len(dialogue) - 1]
    low, high = min(1, len(starts) - 1), len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if count(tuple(dialogue[starts[middle] :])) <= budget:
            high = middle
        else:
            low = middle + 1
    if steady:
        candidates = range(low, low + max(1, (len(starts) - low) // 3))
        low = min(candidates, key=lambda number: crc32(dialogue[starts[number]].text.encode("utf-8", "replace")))
    kept = tuple(dialogue[starts[low] :])
    if low == len(starts) - 1 and (tokens := count(kept)) > budget:
        raise InputError(
            N_("That message is too long for me: with my persona it takes {tokens} tokens and {allowed} fit."),
            tokens=tokens,
            allowed=budget,
        )
    return kept

"""Messages that a person sends one right after the other, and that are answered together. Knows no store, no engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from persona_chat.heard import Heard
from persona_chat.place import Place

MOST = 5
"""Messages in a burst: whoever goes on and on gets an answer all the same."""


@dataclass(eq=False)
class Burst:
    """What one person said in a row, oldest first; the last one is answered. `to` is the persona it is said to."""

    parts: list[Heard] = field(default_factory=list)
    to: int | None = None

    def goes_on_after(self, message_id: int) -> bool:
        """Whether another message came after that one, and is answered in its place."""
        return any(part.message_id == message_id for part in self.parts[:-1])


class Bursts:
    """The burst of each channel that may still grow: until its answer is there, or somebody else says something."""

    def __init__(self) -> None:
        self._open: dict[int, Burst] = {}

    def join(self, heard: Heard, named: int | None, host: int | None) -> tuple[Burst, int | None]:
        """Put a message to the burst it belongs to, or begin one; return the id of whose place it takes, if it does.

        `named` is the persona that the message calls, if it does, and `host` who answers what calls nobody.
        """
        burst = self._open.get(heard.place.channel_id)
        if burst is None or not _belongs(heard, named, burst):
            burst = self._open[heard.place.channel_id] = Burst([heard], host if named is None else named)
            return burst, None
        if any(part.message_id == heard.message_id for part in burst.parts):
            return burst, None  # an event that came twice
        before = burst.parts[-1].message_id
        burst.parts.append(heard)
        return burst, before

    def close(self, burst: Burst) -> None:
        """Let it grow no more."""
        for channel_id, one in tuple(self._open.items()):
            if one is burst:
                del self._open[channel_id]

    def close_with(self, message_id: int) -> None:
        """Let the burst with that message grow no more."""
        for burst in tuple(self._open.values()):
            if any(part.message_id == message_id for part in burst.parts):
                self.close(burst)

    def close_where(self, there: Callable[[Place], bool]) -> None:
        """Let no burst grow any more that is said there."""
        for burst in tuple(self._open.values()):
            if there(burst.parts[0].place):
                self.close(burst)

    def drop(self, message_id: int) -> None:
        """Leave out a message that was taken back."""
        for burst in tuple(self._open.values()):
            burst.parts = [part for part in burst.parts if part.message_id != message_id]
            if not burst.parts:
                self.close(burst)

    def rephrase(self, message_id: int, text: str) -> None:
        """Take over what a message says now."""
        for burst in self._open.values():
            burst.parts = [replace(one, text=text) if one.message_id == message_id else one for one in burst.parts]


def together(parts: Sequence[Heard]) -> Heard:
    """Return the last message with the words of all, and the first message that one of them replies to."""
    answers = next((part.answers for part in parts if part.answers is not None), None)
    return replace(parts[-1], text=" ".join(part.text for part in parts), answers=answers)


def _belongs(heard: Heard, named: int | None, burst: Burst) -> bool:
    """Whether the same person says it to the same persona."""
    answers = together(burst.parts).answers
    return (
        burst.parts[0].place.person_id == heard.place.person_id
        and len(burst.parts) < MOST
        and (named is None or named == burst.to)
        and (heard.answers is None or heard.answers == answers)
    )

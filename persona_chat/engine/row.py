"""One text that is being written: its prompt, how it is drawn, when to give up, and what there is of it. No torch."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from persona_chat.engine.reply import Finish, Sampling
from persona_chat.errors import PersonaChatError


@dataclass(frozen=True)
class Limits:
    """When to give up: `deadline` is in time.perf_counter() seconds; the events are set from other threads."""

    deadline: float
    stops: Sequence[threading.Event]

    def stopped(self) -> bool:
        """Whether nobody wants the text any more."""
        return any(stop.is_set() for stop in self.stops)

    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return time.perf_counter() >= self.deadline


@dataclass(eq=False)
class Row:
    """A text in the making. `owner` is whose cache it may go on from, such as a channel.

    `ends` says of the text so far whether nothing more can belong to it. `grown` is told the text at every token, on
    the model thread.
    """

    prompt: tuple[int, ...]
    sampling: Sampling
    limits: Limits
    ends: Callable[[str], bool]
    owner: object = None
    grown: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        """Begin with nothing read and nothing written."""
        self.rng = Random(self.sampling.seed)  # noqa: S311  it draws words, not secrets
        self.slot = -1
        self.read = 0  # tokens of the prompt that the slot holds
        self.fresh = len(self.prompt)  # of them, so many had to be read for this row
        self.written: list[int] = []
        self.text = ""
        self.first_token_at = 0.0  # time.perf_counter()
        self.finish: Finish | None = None
        self.failed: PersonaChatError | None = None

    @property
    def unread(self) -> int:
        """How many tokens of the prompt are still to be read."""
        return len(self.prompt) - self.read

    @property
    def over(self) -> bool:
        """Whether nothing more is done for it."""
        return self.finish is not None or self.failed is not None

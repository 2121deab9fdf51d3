"""What is asked of an engine and what it gives back: the ReplyEngine protocol and its values. No torch here."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from persona_chat.dialogue import Dialogue
from persona_chat.persona import Persona


@dataclass(frozen=True)
class Sampling:
    """How the next words are drawn. `temperature` 0 takes the likeliest token every time (greedy).

    At most the 64 likeliest are drawn from. `min_p` leaves out what is less likely than that share of the likeliest.
    `whole`: write `max_new_tokens` whatever comes, to measure with. Without `slots` no bracket is drawn, so that none
    begins, such as "(name)".
    """

    max_new_tokens: int = 80
    temperature: float = 0.7
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    top_k: int = 64
    min_p: float = 0.0
    seed: int | None = None
    whole: bool = False
    slots: bool = True


@dataclass(frozen=True)
class ReplyRequest:
    """A persona and a dialogue that ends with a Persona A turn. `dialogue` may be longer than the window.

    The reply goes on after `begun`, words of Person B that are there already, and does not repeat them.
    Of turns that do not fit the window notes are made, but not of the oldest `unnoted`; `kept_notes` are there already.
    Requests of one `channel` share what was read before, and take turns with those of others.
    """

    persona: Persona
    dialogue: Dialogue
    sampling: Sampling = Sampling()
    deadline_s: float = 60.0
    channel: int | None = None
    begun: str = ""
    kept_notes: tuple[str, ...] = ()
    unnoted: int = 0


class Finish(StrEnum):
    """Why a reply ended."""

    STOP = "stop"  # the end-of-sequence token, a newline, or another speaker's line
    LENGTH = "length"  # max_new_tokens
    DEADLINE = "deadline"  # the deadline passed in the middle of the reply
    STOPPED = "stopped"  # somebody stopped it in the middle


@dataclass(frozen=True)
class Reply:
    """Person B's words, one line, never empty, with what they cost. Times are in seconds."""

    text: str
    finish: Finish
    turns: int  # turns of the dialogue that were in the window
    prompt_tokens: int
    reply_tokens: int
    waited_s: float  # from the asking to the start of the model's work
    first_token_s: float  # from the start of the model's work to the first token
    total_s: float  # from the start of the model's work to the end
    adapter: str | None = None  # the adapter that wrote it, by its versioned name
    read_tokens: int = 0  # of the prompt, so many had to be read; the others had been read before


@dataclass(frozen=True)
class Prompt:
    """What a model reads: the whole text, how many turns of the dialogue are in it, and notes of earlier ones."""

    text: str
    turns: int
    notes: tuple[str, ...] = ()


def stopped_at(text: str) -> Reply:
    """Return the reply of which somebody had enough at these words; what it cost is not known."""
    return Reply(text, Finish.STOPPED, 0, 0, 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class EngineFacts:
    """What an engine runs, for people and for cards."""

    base: str
    adapter: str | None
    device: str  # "cpu", "cuda:0 (NVIDIA …)"
    precision: str  # "nf4", "bf16", "fp32"
    why: str  # why this precision


@dataclass(frozen=True)
class EngineState:
    """What an engine has to do now. `ready`: it could write a reply. `kept_bytes` are what was read before."""

    ready: bool
    waiting: int = 0
    writing: int = 0
    kept: int = 0
    kept_bytes: int = 0


Progress = Callable[[float, str], None]
"""Told how much of a long preparation is done, 0 to 1, and what is being done; from any thread."""

Wait = Callable[[Awaitable[Any]], Awaitable[Any]]
"""How long waits are awaited. An offline Discord that counts busy tasks is told of them; elsewhere `plainly`."""


def plainly(awaitable: Awaitable[Any]) -> Awaitable[Any]:
    """Just await."""
    return awaitable


@dataclass(frozen=True)
class Follow:
    """Who is told, on the event loop, how a reply comes along.

    `placed`: its place in the line, 1 being next. `grown`: what there is of it, each time more; it never shows a part
    of what ends a reply, and may be a little behind. After an empty try it begins anew.
    """

    placed: Callable[[int], None] | None = None
    grown: Callable[[str], None] | None = None


class ReplyEngine(Protocol):
    """Turns a request into a reply. The seam between the core and a model, a server, or a script."""

    async def start(self) -> EngineFacts:
        """Load what is needed. Raises CannotStart with what to do when that is not possible."""
        ...

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:
        """Answer the dialogue's last turn.

        Raises EngineBusy when too many wait, EngineResting after `rest`, ReplyTimeout past the deadline,
        EngineFailed when the model failed, and InputError when the last turn is too long. Cancelling the awaiting
        task stops the model's work within one token.
        """
        ...

    async def prompt(self, request: ReplyRequest) -> Prompt:
        """Return exactly what `reply` would give the model. Raises InputError when the last turn is too long."""
        ...

    async def check_persona(self, persona: Persona) -> int:
        """Return the persona's size in tokens; raise PersonaTooLong when it does not fit alone."""
        ...

    def state(self) -> EngineState:
        """Return what there is to do. At once, from the event loop; figures may be a step behind."""
        ...

    async def use(self, adapter: Path | None) -> str | None:
        """Serve another adapter from the next reply on, None for the plain base; return its versioned name.

        Replies that are under way are finished first. Raises AdapterRefused, and goes on with the one it had.
        """
        ...

    async def rest(self) -> None:
        """Let go of the model for a while: until `wake`, replies raise EngineResting. Safe to call twice."""
        ...

    async def wake(self) -> None:
        """Load the model again after `rest`, under the adapter it had. Raises what `start` raises."""
        ...

    async def close(self) -> None:
        """Let go of the model. Whoever still waits gets EngineFailed. Safe to call twice."""
        ...

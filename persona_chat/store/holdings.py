"""What is kept of a person, as values for that person to see. Ids are Discord's, unless said."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from persona_chat.store.library import Revision


@dataclass(frozen=True)
class Held:
    """What is kept of a person, or was let go of, in numbers. Of `unanswered` messages only ids are kept.

    `edits` are answers to other people that this person wrote in a persona's place, `feedback` counts versions of
    replies that they judged or said something about, `reports` what they told moderators, `memories` what personas
    remember as they changed it.
    """

    messages: int = 0
    replies: int = 0
    channels: int = 0
    unanswered: int = 0
    personas: int = 0
    edits: int = 0
    feedback: int = 0
    reports: int = 0
    memories: int = 0
    oldest: datetime | None = None

    def __bool__(self) -> bool:
        """Whether there is anything."""
        kept = (self.messages, self.replies, self.unanswered, self.personas)
        return any((*kept, self.edits, self.feedback, self.reports, self.memories))


@dataclass(frozen=True)
class Said:
    """A message of a person, with all that was answered. `id` is the order; all other ids are Discord's."""

    id: int
    message_id: int
    channel_id: int
    said_at: datetime
    state: str
    speaker_name: str
    text: str
    shown: int
    replies: tuple["Answered", ...]


@dataclass(frozen=True)
class Answered:
    """A version of an answer: by the persona of that name, with what it was made with."""

    number: int
    persona: str
    text: str
    adapter: str | None
    how: Mapping[str, Any] | None
    made_at: datetime


@dataclass(frozen=True)
class Owned:
    """A persona of a person's own, in all its words; the revision `current` counts."""

    current: int
    made_at: datetime
    deleted_at: datetime | None
    revisions: tuple[Revision, ...]


@dataclass(frozen=True)
class Edit:
    """An answer to somebody else, as a person wrote it in a persona's place. Ids are Discord's."""

    message_id: int
    channel_id: int
    text: str
    written_at: datetime


@dataclass(frozen=True)
class Given:
    """What a person thinks of a version of a reply, and says that it should have said. Ids are Discord's."""

    message_id: int
    channel_id: int
    version: int
    verdict: str | None
    suggestion: str
    given_at: datetime


@dataclass(frozen=True)
class Seat:
    """The persona that somebody chose for wherever they talk. `server_id` is None for one of their own."""

    persona: str
    server_id: int | None
    since: datetime

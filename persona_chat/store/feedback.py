"""What people think of replies: all SQL about it as verbs. Ids are Discord's; a version is a reply and its number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import case, delete, func, select, update

from persona_chat.store.library import Begin
from persona_chat.store.tables import ANSWERED, Feedback, Messages, Replies, Revisions

_SAYS_NOTHING = (Feedback.verdict.is_(None), Feedback.suggestion == "")


class Thumb(StrEnum):
    """A person's verdict on a reply."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Mine:
    """What one person thinks of one version of a reply; no suggestion is ""."""

    thumb: Thumb | None = None
    suggestion: str = ""


@dataclass(frozen=True)
class Tally:
    """What is thought of an adapter's replies; None is the plain base. `replies` are the versions that were judged."""

    adapter: str | None
    replies: int
    up: int
    down: int
    suggestions: int


@dataclass(frozen=True)
class Suggestion:
    """What a persona said, and what it should have said. The persona's name is "" when it was forgotten."""

    persona: str
    adapter: str | None
    said: str
    better: str
    at: datetime


class FeedbackStore:
    """The feedback in a database: of each person at most one row a version."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def of(self, message_id: int, number: int, person_id: int) -> Mine:
        """Return what a person thinks of that version of the answer to a message."""
        query = (
            select(Feedback.verdict, Feedback.suggestion)
            .join(Replies, Replies.id == Feedback.reply_id)
            .join(Messages, Messages.id == Replies.message_id)
            .where(Messages.message_id == message_id, Replies.number == number, Feedback.person_id == person_id)
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return Mine() if row is None else Mine(Thumb(row.verdict) if row.verdict else None, row.suggestion)

    def judge(self, message_id: int, number: int, person_id: int, thumb: Thumb | None) -> bool:
        """Keep a person's verdict instead of the one before; whether that version is still there."""
        return self._put(message_id, number, person_id, verdict=None if thumb is None else thumb.value)

    def suggest(self, message_id: int, number: int, person_id: int, text: str) -> bool:
        """Keep what a person says it should have said instead of the text before; "" is none. As `judge`."""
        return self._put(message_id, number, person_id, suggestion=text)

    def take_back(self, message_id: int, person_id: int, thumb: Thumb) -> None:
        """Let go of that verdict of a person on every version of the answer to a message."""
        versions = select(Replies.id).join(Messages).where(Messages.message_id == message_id)
        theirs = (Feedback.person_id == person_id, Feedback.reply_id.in_(versions))
        with self._writing() as connection:
            connection.execute(update(Feedback).where(*theirs, Feedback.verdict == thumb.value).values(verdict=None))
            connection.execute(delete(Feedback).where(*theirs, *_SAYS_NOTHING))

    def judged(self, message_id: int, person_id: int, thumb: Thumb) -> tuple[int, ...]:
        """Return the versions of the answer to a message of which a person has that verdict."""
        query = (
            select(Replies.number)
            .join(Feedback, Feedback.reply_id == Replies.id)
            .join(Messages, Messages.id == Replies.message_id)
            .where(Messages.message_id == message_id, Feedback.person_id == person_id, Feedback.verdict == thumb.value)
            .order_by(Replies.number)
        )
        with self._reading() as connection:
            return tuple(connection.scalars(query))

    def let_go(
        self,
        message_id: int,
        person_id: int,
        numbers: Sequence[int],
        what: Literal["verdict", "suggestion"],
        before: datetime,
    ) -> None:
        """Let go of what a person thought of these versions, unless they said something of them since then."""
        versions = (
            select(Replies.id).join(Messages).where(Messages.message_id == message_id, Replies.number.in_(numbers))
        )
        theirs = (Feedback.person_id == person_id, Feedback.reply_id.in_(versions), Feedback.updated_at < before)
        with self._writing() as connection:
            nothing = {"verdict": None} if what == "verdict" else {"suggestion": ""}
            connection.execute(update(Feedback).where(*theirs).values(nothing))
            connection.execute(delete(Feedback).where(*theirs, *_SAYS_NOTHING))

    def tallies(self) -> tuple[Tally, ...]:
        """Return the counts of every adapter of which something is thought, the most judged first."""
        replies = func.count(case((Feedback.verdict.is_not(None), Feedback.reply_id)).distinct()).label("replies")
        columns: tuple[Any, ...] = (
            Replies.adapter,
            replies,
            *(func.count(case((Feedback.verdict == thumb.value, 1))) for thumb in (Thumb.UP, Thumb.DOWN)),
            func.count(case((Feedback.suggestion != "", 1))),
        )
        query = (
            select(*columns)
            .join(Replies, Replies.id == Feedback.reply_id)
            .group_by(Replies.adapter)
            .order_by(replies.desc(), func.count(Feedback.verdict).desc(), Replies.adapter)
        )
        with self._reading() as connection:
            return tuple(Tally(*row) for row in connection.execute(query))

    def suggestions(self, limit: int) -> tuple[Suggestion, ...]:
        """Return the newest suggestions, the newest first."""
        columns: tuple[Any, ...] = (
            *(Revisions.name, Replies.adapter, Replies.text, Feedback.suggestion, Feedback.updated_at),
        )
        query = (
            select(*columns)
            .join(Replies, Replies.id == Feedback.reply_id)
            .join(Revisions, Revisions.id == Replies.revision_id)
            .where(Feedback.suggestion != "")
            .order_by(Feedback.updated_at.desc(), Feedback.id.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return tuple(Suggestion(*row) for row in connection.execute(query))

    def _put(self, message_id: int, number: int, person_id: int, **values: Any) -> bool:
        reply = (
            select(Replies.id)
            .join(Messages, Messages.id == Replies.message_id)
            .where(Messages.message_id == message_id, Messages.state == ANSWERED, Replies.number == number)
        )
        values |= {"updated_at": datetime.now(UTC)}
        with self._writing() as connection:
            reply_id = connection.scalar(reply)
            if reply_id is None:
                return False
            new = {"reply_id": reply_id, "person_id": person_id, "verdict": None, "suggestion": ""} | values
            row = self._insert(Feedback).values(new)
            keys = [Feedback.reply_id, Feedback.person_id]
            connection.execute(row.on_conflict_do_update(index_elements=keys, set_=values))
            theirs = (Feedback.reply_id == reply_id, Feedback.person_id == person_id)
            connection.execute(delete(Feedback).where(*theirs, *_SAYS_NOTHING))
        return True

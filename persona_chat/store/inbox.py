"""What came in and is not over: messages that a crash left, and up to where channels were heard; verbs of `Inbox`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update

from persona_chat.persona import Persona
from persona_chat.store.library import WORDS, Begin, persona_of
from persona_chat.store.tables import ANSWERED, CLAIMED, REFUSED, Marks, Messages, Replies, Revisions, SentParts


@dataclass(frozen=True)
class Left:
    """A claimed message that nobody answered, or whose reply may not have been sent whole.

    `text` is all that was said, `reply` what was answered by the persona, if it was, and `sent` are the ids of the
    messages that the reply went out as, by the number of the part.
    """

    message_id: int
    channel_id: int
    text: str
    reply: str | None
    persona: Persona | None
    sent: Mapping[int, int]


class Inbox:
    """The messages in a database that are not over."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def expire(self, oldest: int, reason: str) -> int:
        """Refuse claimed messages before that one which nobody answered, and keep no word of them; return how many."""
        with self._writing() as connection:
            old = update(Messages).where(Messages.state == CLAIMED, Messages.message_id < oldest)
            return connection.execute(old.values(**_refused(reason))).rowcount

    def left(self, oldest: int, message_ids: Sequence[int] | None = None) -> tuple[Left, ...]:
        """Return what is not over of the messages from `oldest` on, or of these among them, the oldest first.

        Of an answered one it cannot be said here in how many parts its reply goes out: all of them are returned.
        """
        columns: tuple[Any, ...] = (Messages.message_id, Messages.channel_id, Messages.text, Replies.id, Replies.text)
        query = (
            select(*columns, *WORDS)
            .outerjoin(Replies, (Replies.message_id == Messages.id) & (Replies.number == 1))
            .outerjoin(Revisions, Revisions.id == Replies.revision_id)
            .where(Messages.state.in_((CLAIMED, ANSWERED)), Messages.message_id >= oldest, Messages.shown == 1)
            .order_by(Messages.id)
        )
        if message_ids is not None:
            query = query.where(Messages.message_id.in_(message_ids))
        with self._reading() as connection:
            rows = connection.execute(query).all()
            replies = [row[3] for row in rows if row[3] is not None]
            parts = select(SentParts.reply_id, SentParts.part, SentParts.sent_id).where(SentParts.reply_id.in_(replies))
            sent: dict[int, dict[int, int]] = {}
            for reply_id, part, sent_id in connection.execute(parts):
                sent.setdefault(reply_id, {})[part] = sent_id
        return tuple(
            Left(row[0], row[1], row[2], row[4], None if row[3] is None else persona_of(row), sent.get(row[3], {}))
            for row in rows
        )

    def take_up(self, message_id: int, most: int) -> bool:
        """Count one more attempt at a claimed message. False after `most`, and for one that is over.

        The count is kept before the attempt, so that a message which brings us down does so a few times only.
        """
        again = update(Messages).where(
            Messages.message_id == message_id, Messages.state == CLAIMED, Messages.attempts < most
        )
        with self._writing() as connection:
            return bool(connection.execute(again.values(attempts=Messages.attempts + 1)).rowcount)

    def give_up(self, message_id: int, reason: str) -> bool:
        """Refuse a claimed message and keep no word of it. False for one that is over."""
        claimed = update(Messages).where(Messages.message_id == message_id, Messages.state == CLAIMED)
        with self._writing() as connection:
            return bool(connection.execute(claimed.values(**_refused(reason))).rowcount)

    def known(self, message_ids: Sequence[int]) -> set[int]:
        """Return which of these messages were claimed, whatever became of them."""
        with self._reading() as connection:
            return set(connection.scalars(select(Messages.message_id).where(Messages.message_id.in_(message_ids))))

    def noted(self, sent_ids: Sequence[int]) -> set[int]:
        """Return which of these messages of Discord's are noted as a part of a reply."""
        with self._reading() as connection:
            return set(connection.scalars(select(SentParts.sent_id).where(SentParts.sent_id.in_(sent_ids))))

    def marks(self) -> dict[int, int]:
        """Return up to which message each channel was heard."""
        with self._reading() as connection:
            rows = connection.execute(select(Marks.channel_id, Marks.message_id))
            return {row.channel_id: row.message_id for row in rows}

    def mark(self, heard: Mapping[int, int]) -> None:
        """Keep up to which message channels were heard. A mark never moves back."""
        if not heard:
            return
        with self._writing() as connection:
            new = self._insert(Marks).values([{"channel_id": one, "message_id": upto} for one, upto in heard.items()])
            moved = new.on_conflict_do_update(
                index_elements=[Marks.channel_id],
                set_={"message_id": new.excluded.message_id},
                where=Marks.message_id < new.excluded.message_id,
            )
            connection.execute(moved)

    def forget_marks(self, before: datetime) -> int:
        """Let go of the marks of channels where nobody talked to us since then; return how many that were."""
        talked_in = select(Messages.channel_id).where(Messages.claimed_at >= before)
        with self._writing() as connection:
            return connection.execute(delete(Marks).where(Marks.channel_id.not_in(talked_in))).rowcount

    def talked_in(self, within: timedelta, now: datetime, most: int) -> tuple[int, ...]:
        """Return the channels in which somebody talked to us in that time, the latest first."""
        newest = func.max(Messages.id)
        query = (
            select(Messages.channel_id)
            .where(Messages.claimed_at >= now - within)
            .group_by(Messages.channel_id)
            .order_by(newest.desc())
            .limit(most)
        )
        with self._reading() as connection:
            return tuple(connection.scalars(query))


def _refused(reason: str) -> dict[str, Any]:
    return {"state": REFUSED, "reason": reason, "text": "", "speaker_name": "", "parts": None}

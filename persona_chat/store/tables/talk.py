"""What was said, what was answered, and what is remembered of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from persona_chat.store.tables.columns import SURROGATE, Base
from persona_chat.store.tables.spoken import Spoken, SpokenList

CLAIMED = "claimed"
ANSWERED = "answered"
REFUSED = "refused"
JOINED = "joined"
DELETED = "deleted"

KNOWN = text("speaker_id <> 0")
"""Messages of which it is known who said them; written as in the index, or SQLite would not use that."""


class Messages(Base):
    """What people said to the bot. `message_id` is Discord's and claimed once; `id` is ours and the order.

    `shown` is the number of the reply that stands in Discord, and so is remembered. A deleted one keeps no words, a
    forgotten one also no `speaker_id` (0).

    What a person said in a row is answered as one: `parts` of the last message are what each said by Discord's ids, and
    `text` all of it; the others are `joined_to` it (`messages.id`) and hold no words.

    `attempts` is how often it was begun to answer it.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("state IN ('claimed', 'answered', 'refused', 'deleted', 'joined')", name="state"),
        Index(None, "channel_id", "id"),
        Index(None, "speaker_id"),
        Index(None, "claimed_at", sqlite_where=KNOWN, postgresql_where=KNOWN),
    )

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    message_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    speaker_id: Mapped[int] = mapped_column(BigInteger)
    speaker_name: Mapped[str] = mapped_column(Spoken("messages.speaker_name"))
    text: Mapped[str] = mapped_column(Spoken("messages.text"))
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None]
    claimed_at: Mapped[datetime]
    shown: Mapped[int]
    parts: Mapped[list[dict[str, Any]] | None] = mapped_column(SpokenList("messages.parts"))
    joined_to: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))
    attempts: Mapped[int] = mapped_column(server_default="1")
    server_id: Mapped[int | None] = mapped_column(BigInteger)


class Replies(Base):
    """What a persona answered, in versions counted from 1. `message_id` is `messages.id`, not Discord's.

    `how` says what it was made with: sampling, seed, window; it is NULL for replies of earlier releases.
    """

    __tablename__ = "replies"
    __table_args__ = (UniqueConstraint("message_id", "number"), Index(None, "revision_id"))

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    text: Mapped[str] = mapped_column(Spoken("replies.text"))
    adapter: Mapped[str | None]
    created_at: Mapped[datetime]
    revision_id: Mapped[int] = mapped_column(ForeignKey("revisions.id"))
    number: Mapped[int]
    how: Mapped[dict[str, Any] | None]


class SentParts(Base):
    """The Discord messages a reply went out as, counted from 0. They belong to its first version."""

    __tablename__ = "sent_parts"
    __table_args__ = (UniqueConstraint("reply_id", "part"), Index(None, "sent_id"))

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    reply_id: Mapped[int] = mapped_column(ForeignKey("replies.id"))
    part: Mapped[int]
    sent_id: Mapped[int] = mapped_column(BigInteger)


class Feedback(Base):
    """What people think of replies: of each version a person's newest verdict, and what it should have said, or "".

    It goes with the version that it is about.
    """

    __tablename__ = "feedback"
    __table_args__ = (
        UniqueConstraint("reply_id", "person_id"),
        CheckConstraint("verdict IN ('up', 'down')", name="verdict"),
        Index(None, "person_id"),
    )

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    reply_id: Mapped[int] = mapped_column(ForeignKey("replies.id", ondelete="CASCADE"))
    person_id: Mapped[int] = mapped_column(BigInteger)
    verdict: Mapped[str | None] = mapped_column(String(8))
    suggestion: Mapped[str] = mapped_column(Spoken("feedback.suggestion"))
    updated_at: Mapped[datetime]


class Channels(Base):
    """How the bot behaves in a channel or a thread, by Discord's id. What is not set is as the bot's defaults.

    Messages up to `since` (`messages.id`) are not remembered there; `since_before` is where that stood before the last
    reset.
    """

    __tablename__ = "channels"
    __table_args__ = (CheckConstraint("mode IN ('mention', 'every', 'chance', 'off')", name="mode"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    mode: Mapped[str | None] = mapped_column(String(16))
    chance: Mapped[int]
    cooldown_s: Mapped[int]
    paused: Mapped[bool]
    since: Mapped[int] = mapped_column(BigInteger)
    since_before: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[datetime]


class Memories(Base):
    """What people made of the notes of a persona in a channel: these are all of what was said up to `upto`.

    `upto` is `messages.id`, `since` the channel's when it was changed: after a reset it does not count.
    """

    __tablename__ = "memories"

    channel_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    persona_id: Mapped[int] = mapped_column(ForeignKey("personas.id"), primary_key=True, autoincrement=False)
    notes: Mapped[list[str]] = mapped_column(SpokenList("memories.notes"))
    upto: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[int] = mapped_column(BigInteger)
    by: Mapped[int | None] = mapped_column(BigInteger)
    edited_at: Mapped[datetime]


class People(Base):
    """Who opted out, by Discord's id: their messages are neither kept nor answered. Nobody else has a row."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    opted_out_at: Mapped[datetime]


class Marks(Base):
    """Up to which message a channel was heard, by Discord's ids: all up to it were answered, or are for nobody."""

    __tablename__ = "marks"

    channel_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    message_id: Mapped[int] = mapped_column(BigInteger)

"""The tables, as migrations/ makes them; a test compares the two. No row leaves the store."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CLAIMED = "claimed"
ANSWERED = "answered"
REFUSED = "refused"
JOINED = "joined"
DELETED = "deleted"

JOB_STATES = ("training", "evaluating", "promoting", "promoted", "parked", "cancelled", "failed", "interrupted")
"""The states of a retraining; in the first three it is under way."""

# Without names a constraint cannot be altered later, least of all on SQLite.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite counts up by itself only in a column that is called exactly INTEGER.
SURROGATE = BigInteger().with_variant(Integer, "sqlite")

_THERE = text("deleted_at IS NULL")
KNOWN = text("speaker_id <> 0")
"""Messages of which it is known who said them; written as in the index, or SQLite would not use that."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Always timezone-aware UTC in Python, also on SQLite, which keeps no timezone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Turn any timezone into UTC. Raises ValueError for a time without one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a timezone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Give the timezone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {  # noqa: RUF012
        datetime: UtcDateTime,
        str: Text,
        float: Double,
        list[str]: JSON,
        dict[str, Any]: JSON(none_as_null=True),
        list[dict[str, Any]]: JSON(none_as_null=True),
    }


class Personas(Base):
    """Personas of a server or of a person (`home`, `home_id`). `key` is the name as it is looked for.

    `current` is the number of the revision that counts. A deleted one can be brought back, so it keeps its row.
    """

    __tablename__ = "personas"
    __table_args__ = (
        CheckConstraint("home IN ('server', 'me')", name="home"),
        Index(None, "home", "home_id", "key", unique=True, sqlite_where=_THERE, postgresql_where=_THERE),
    )

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    home: Mapped[str] = mapped_column(String(16))
    home_id: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str]
    current: Mapped[int]
    by: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Revisions(Base):
    """The words of personas, counted from 1. A row is never changed: replies point at the words that gave them."""

    __tablename__ = "revisions"
    __table_args__ = (UniqueConstraint("persona_id", "number"),)

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    persona_id: Mapped[int] = mapped_column(ForeignKey("personas.id"))
    number: Mapped[int]
    name: Mapped[str]
    about: Mapped[str]
    facts: Mapped[list[str]]
    greeting: Mapped[str]
    age_restricted: Mapped[bool]
    by: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    avatar_url: Mapped[str]


class Seats(Base):
    """Who talks where: the persona of a thread, channel, server or person, by Discord's id."""

    __tablename__ = "seats"
    __table_args__ = (CheckConstraint("scope IN ('thread', 'channel', 'server', 'me')", name="scope"),)

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    spot_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    persona_id: Mapped[int] = mapped_column(ForeignKey("personas.id"))
    by: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[datetime]


class Guests(Base):
    """Who else talks in a thread or channel: personas that answer when their name, or `trigger`, is said."""

    __tablename__ = "guests"
    __table_args__ = (CheckConstraint("scope IN ('thread', 'channel')", name="scope"), Index(None, "persona_id"))

    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    spot_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    persona_id: Mapped[int] = mapped_column(ForeignKey("personas.id"), primary_key=True, autoincrement=False)
    trigger: Mapped[str]
    by: Mapped[int | None] = mapped_column(BigInteger)
    invited_at: Mapped[datetime]


class Messages(Base):
    """What people said to the bot. `message_id` is Discord's and claimed once; `id` is ours and the order.

    `shown` is the number of the reply that stands in Discord, and so is remembered. A deleted one keeps no words, a
    forgotten one also no `speaker_id` (0).

    What a person said in a row is answered as one: `parts` of the last message are what each said by Discord's ids, and
    `text` all of it; the others are `joined_to` it (`messages.id`) and hold no words.
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
    speaker_name: Mapped[str]
    text: Mapped[str]
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None]
    claimed_at: Mapped[datetime]
    shown: Mapped[int]
    parts: Mapped[list[dict[str, Any]] | None]
    joined_to: Mapped[int | None] = mapped_column(ForeignKey("messages.id"))


class Replies(Base):
    """What a persona answered, in versions counted from 1. `message_id` is `messages.id`, not Discord's.

    `how` says what it was made with: sampling, seed, window; it is NULL for replies of earlier releases.
    """

    __tablename__ = "replies"
    __table_args__ = (UniqueConstraint("message_id", "number"), Index(None, "revision_id"))

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"))
    text: Mapped[str]
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
    suggestion: Mapped[str]
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
    notes: Mapped[list[str]]
    upto: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[int] = mapped_column(BigInteger)
    by: Mapped[int | None] = mapped_column(BigInteger)
    edited_at: Mapped[datetime]


class People(Base):
    """Who opted out, by Discord's id: their messages are neither kept nor answered. Nobody else has a row."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    opted_out_at: Mapped[datetime]


class Servers(Base):
    """What the managers of a server set, by Discord's id. Servers where nothing was set have no row."""

    __tablename__ = "servers"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    filters_input: Mapped[bool]
    filters_output: Mapped[bool]
    built_in_words: Mapped[bool]
    log_channel_id: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[datetime]


class Listed(Base):
    """The channels, threads and roles of a server that are on its allow-list, or else on its deny-list."""

    __tablename__ = "listed"
    __table_args__ = (CheckConstraint("kind IN ('channel', 'role')", name="kind"),)

    server_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    target_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    allowed: Mapped[bool]


class FilterWords(Base):
    """The words of its own that a server's filter stops, in the order in which they were typed."""

    __tablename__ = "filter_words"

    server_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    word: Mapped[str]


class Reports(Base):
    """What people told a server's moderators about. Without `message_id` it is about no one message."""

    __tablename__ = "reports"
    __table_args__ = (Index(None, "server_id", "id"), Index(None, "reporter_id"))

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    server_id: Mapped[int] = mapped_column(BigInteger)
    channel_id: Mapped[int] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    reporter_id: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str]
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[int | None] = mapped_column(BigInteger)


class Services(Base):
    """Which adapter was in service from when on, and why; no name is the plain base. The newest row counts."""

    __tablename__ = "services"

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    adapter: Mapped[str | None]
    why: Mapped[str]
    since: Mapped[datetime]


class Jobs(Base):
    """Retrainings. `slot` is 1 while one is under way and NULL afterwards: unique, it lets one run at a time.

    `pid` and `started` (seconds since the epoch) are the process that owns it, `child_pid` and `child_started` the
    program that it runs. `shown` is the state that its message in Discord shows.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(map(repr, JOB_STATES))})", name="state"),
        CheckConstraint("slot = 1", name="slot"),
    )

    id: Mapped[int] = mapped_column(SURROGATE, primary_key=True)
    slot: Mapped[int | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[int | None] = mapped_column(BigInteger)
    channel_id: Mapped[int | None] = mapped_column(BigInteger)
    message_id: Mapped[int | None] = mapped_column(BigInteger)
    shown: Mapped[str | None] = mapped_column(String(16))
    base: Mapped[str]
    sources: Mapped[list[str]]
    rows: Mapped[int | None]
    steps: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    run_folder: Mapped[str | None]
    in_service: Mapped[str | None]
    candidate: Mapped[str | None]
    service_scores: Mapped[dict[str, Any] | None]
    candidate_scores: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None]
    step: Mapped[int]
    loss: Mapped[float | None]
    step_seconds: Mapped[float | None]
    seconds_left: Mapped[float | None]
    cancel_asked: Mapped[bool]
    pid: Mapped[int]
    started: Mapped[float]
    child_pid: Mapped[int | None]
    child_started: Mapped[float | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

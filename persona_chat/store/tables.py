"""The tables. Migrations make them (migrations/), a test compares the two; only `store.py` reads and writes them."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# A key that counts up must be exactly INTEGER on SQLite.
Key = BigInteger().with_variant(Integer, "sqlite")


class UtcTime(TypeDecorator[datetime]):
    """A point in time, aware and in UTC on both sides; SQLite keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read UTC."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC)


class Table(DeclarativeBase):
    """Names every constraint, so that migrations can change them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class PersonaRow(Table):
    """One revision of a persona. Never changed, so that a reply can name the one that gave it."""

    __tablename__ = "personas"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(Text)
    facts: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class ChannelRow(Table):
    """A channel that has, or had, a persona. `id` is Discord's; without `persona_id` the channel is off."""

    __tablename__ = "channels"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    guild_id: Mapped[int | None] = mapped_column(BigInteger)
    persona_id: Mapped[int | None] = mapped_column(ForeignKey("personas.id"))
    updated_at: Mapped[datetime] = mapped_column(UtcTime)


class MessageRow(Table):
    """A message that was heard. `message_id` is Discord's and is claimed once; `id` gives the order."""

    __tablename__ = "messages"
    __table_args__ = (CheckConstraint("state IN ('claimed', 'answered', 'refused')", name="state"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    message_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    channel_id: Mapped[int] = mapped_column(BigInteger, index=True)
    speaker_id: Mapped[int] = mapped_column(BigInteger)
    speaker_name: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str | None] = mapped_column(String(64))
    claimed_at: Mapped[datetime] = mapped_column(UtcTime)


class ReplyRow(Table):
    """The reply to a message, with the persona revision and the adapter that gave it."""

    __tablename__ = "replies"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    message_id: Mapped[int] = mapped_column(ForeignKey("messages.id"), unique=True)
    persona_id: Mapped[int] = mapped_column(ForeignKey("personas.id"))
    text: Mapped[str] = mapped_column(Text)
    adapter: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class SentPartRow(Table):
    """A Discord message in which a part of a reply was sent."""

    __tablename__ = "sent_parts"
    __table_args__ = (UniqueConstraint("reply_id", "part"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    reply_id: Mapped[int] = mapped_column(ForeignKey("replies.id"))
    part: Mapped[int]
    sent_id: Mapped[int] = mapped_column(BigInteger)

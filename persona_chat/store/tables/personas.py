"""Personas, their revisions, and where they talk."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from persona_chat.store.tables.columns import SURROGATE, Base

_THERE = text("deleted_at IS NULL")


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

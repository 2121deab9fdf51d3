"""What the managers of servers set, and what was reported to them."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from persona_chat.store.tables.columns import SURROGATE, Base
from persona_chat.store.tables.spoken import Spoken


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
    reason: Mapped[str] = mapped_column(Spoken("reports.reason"))
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    done_by: Mapped[int | None] = mapped_column(BigInteger)

"""Which adapter serves, and the retrainings."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from persona_chat.store.tables.columns import SURROGATE, Base

JOB_STATES = ("training", "evaluating", "promoting", "promoted", "parked", "cancelled", "failed", "interrupted")
"""The states of a retraining; in the first three it is under way."""


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

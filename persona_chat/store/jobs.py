"""Retrainings as they are kept: the value `Job`, and all SQL about them as verbs of `Jobs`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from persona_chat.process import Process
from persona_chat.store import tables

Begin = Callable[[], AbstractContextManager[Connection]]

REMEMBERED_MESSAGES = 20
"""How many of the newest jobs are looked at for messages that do not show how they ended."""


class State(StrEnum):
    """Where a job stands."""

    TRAINING = "training"
    EVALUATING = "evaluating"
    PROMOTING = "promoting"
    PROMOTED = "promoted"  # its adapter went into service
    PARKED = "parked"  # its adapter is kept, and did not go into service
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # the process that owned it ended

    @property
    def under_way(self) -> bool:
        """Whether it goes on."""
        return self in (State.TRAINING, State.EVALUATING, State.PROMOTING)


@dataclass(frozen=True)
class Order:
    """What a job is to do. `requested_by` is a person's Discord id, None for the shell; `rows` None is unknown."""

    base: str
    sources: tuple[str, ...]
    steps: int
    seed: int
    rows: int | None = None
    in_service: str | None = None  # the adapter that it is to be better than
    requested_by: int | None = None
    channel_id: int | None = None


@dataclass(frozen=True)
class Job:
    """A retraining. Seconds are of real time; scores are by metric, as the evaluator gives them."""

    number: int
    state: State
    order: Order
    owner: Process
    created_at: datetime
    message_id: int | None = None
    run_folder: str | None = None
    candidate: str | None = None  # its adapter's name in the registry
    candidate_scores: Mapping[str, Any] = field(default_factory=dict)
    service_scores: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    step: int = 0
    loss: float | None = None
    step_seconds: float | None = None
    seconds_left: float | None = None
    cancel_asked: bool = False
    child: Process | None = None
    ended_at: datetime | None = None


class Jobs:
    """The jobs in a database. At most one is under way, whoever asks, from whichever process."""

    def __init__(self, reading: Begin, writing: Begin) -> None:
        self._reading = reading
        self._writing = writing

    def begin(self, order: Order, owner: Process) -> Job | None:
        """Make a job that is under way; None when another one is."""
        row = insert(tables.Jobs).values(
            slot=1,
            state=State.TRAINING,
            requested_by=order.requested_by,
            channel_id=order.channel_id,
            base=order.base,
            sources=list(order.sources),
            rows=order.rows,
            steps=order.steps,
            seed=order.seed,
            in_service=order.in_service,
            step=0,
            cancel_asked=False,
            pid=owner.pid,
            started=owner.started,
            created_at=_now(),
            updated_at=_now(),
        )
        try:
            with self._writing() as connection:
                made = connection.execute(row.returning(tables.Jobs)).one()
        except IntegrityError:  # the slot is taken
            return None
        return _job(made)

    def find(self, number: int) -> Job | None:
        """Return the job of this number."""
        with self._reading() as connection:
            row = connection.execute(select(tables.Jobs).where(tables.Jobs.id == number)).one_or_none()
        return None if row is None else _job(row)

    def under_way(self) -> Job | None:
        """Return the job that is under way, whether or not its owner still lives."""
        with self._reading() as connection:
            row = connection.execute(select(tables.Jobs).where(tables.Jobs.slot == 1)).one_or_none()
        return None if row is None else _job(row)

    def newest(self, limit: int) -> tuple[Job, ...]:
        """Return the last jobs, the newest first."""
        with self._reading() as connection:
            rows = connection.execute(select(tables.Jobs).order_by(tables.Jobs.id.desc()).limit(limit))
            return tuple(_job(row) for row in rows)

    def pace(self, base: str) -> float | None:
        """Return how many seconds a step of the last job on this base took; None when there was none."""
        last = (
            select(tables.Jobs.step_seconds)
            .where(tables.Jobs.base == base, tables.Jobs.step_seconds.is_not(None))
            .order_by(tables.Jobs.id.desc())
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(last)

    def note(self, number: int, **values: Any) -> bool:
        """Note columns of a job that is under way; False when it is not any more."""
        return self._change(number, values)

    def go_on(self, number: int, state: State) -> bool:
        """Move a job on to a later state; False when it is not under way, or was asked to be cancelled."""
        return self._change(number, {"state": state}, tables.Jobs.cancel_asked.is_(False))

    def note_child(self, number: int, child: Process | None) -> None:
        """Note which program the job runs at the moment."""
        pid, started = (child.pid, child.started) if child is not None else (None, None)
        self._change(number, {"child_pid": pid, "child_started": started})

    def ask_to_cancel(self, number: int) -> bool:
        """Ask for the job's end; False when it is not under way, or too far: its adapter is being put in service."""
        return self._change(number, {"cancel_asked": True}, tables.Jobs.state != State.PROMOTING)

    def end(self, number: int, state: State, reason: str | None = None) -> bool:
        """End a job that is under way; False when it ended before, and then it stays as it ended."""
        values = {"state": state, "reason": reason, "slot": None, "seconds_left": None, "ended_at": _now()}
        return self._change(number, values)

    def note_message(self, number: int, message_id: int) -> None:
        """Note the message in Discord that shows how the job goes."""
        with self._writing() as connection:
            connection.execute(update(tables.Jobs).where(tables.Jobs.id == number).values(message_id=message_id))

    def to_show(self) -> tuple[Job, ...]:
        """Return the jobs whose message is to be edited: one that is under way, and what ended unshown."""
        unshown = (
            select(tables.Jobs)
            .where(
                tables.Jobs.message_id.is_not(None),
                tables.Jobs.channel_id.is_not(None),
                or_(tables.Jobs.slot == 1, tables.Jobs.shown.is_(None), tables.Jobs.shown != tables.Jobs.state),
            )
            .order_by(tables.Jobs.id.desc())
            .limit(REMEMBERED_MESSAGES)
        )
        with self._reading() as connection:
            return tuple(_job(row) for row in connection.execute(unshown))

    def note_shown(self, number: int, state: State) -> None:
        """Note that the job's message shows this state, or cannot be edited any more."""
        with self._writing() as connection:
            connection.execute(update(tables.Jobs).where(tables.Jobs.id == number).values(shown=state))

    def _change(self, number: int, values: Mapping[str, Any], *conditions: Any) -> bool:
        change = (
            update(tables.Jobs)
            .where(tables.Jobs.id == number, tables.Jobs.slot == 1, *conditions)
            .values(updated_at=_now(), **values)
        )
        with self._writing() as connection:
            return connection.execute(change).rowcount == 1


def _job(row: Row[Any]) -> Job:
    child = Process(row.child_pid, row.child_started) if row.child_pid is not None else None
    return Job(
        number=row.id,
        state=State(row.state),
        order=Order(
            base=row.base,
            sources=tuple(row.sources),
            steps=row.steps,
            seed=row.seed,
            rows=row.rows,
            in_service=row.in_service,
            requested_by=row.requested_by,
            channel_id=row.channel_id,
        ),
        owner=Process(row.pid, row.started),
        created_at=row.created_at,
        message_id=row.message_id,
        run_folder=row.run_folder,
        candidate=row.candidate,
        candidate_scores=row.candidate_scores or {},
        service_scores=row.service_scores or {},
        reason=row.reason,
        step=row.step,
        loss=row.loss,
        step_seconds=row.step_seconds,
        seconds_left=row.seconds_left,
        cancel_asked=row.cancel_asked,
        child=child,
        ended_at=row.ended_at,
    )


def _now() -> datetime:
    return datetime.now(UTC)

"""What people told moderators: all SQL about it as verbs of `Reports`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update

from persona_chat.store.library import Begin
from persona_chat.store.tables import Reports as Rows


@dataclass(frozen=True)
class Report:
    """What somebody told moderators. Ids are Discord's; `number` is ours. No message: about none in particular."""

    number: int
    server_id: int
    channel_id: int
    message_id: int | None
    reporter_id: int
    reason: str
    reported_at: datetime
    done_at: datetime | None = None


class Reports:
    """The reports in a database."""

    def __init__(self, reading: Begin, writing: Begin) -> None:
        self._reading, self._writing = reading, writing

    def add(
        self, server_id: int, channel_id: int, message_id: int | None, reporter_id: int, reason: str, most: int
    ) -> tuple[Report, bool] | None:
        """Keep a report, and say whether it is new; None when this person has `most` open ones in that server already.

        The same person's open report about the same message stays the one there is.
        """
        values = {
            "server_id": server_id,
            "channel_id": channel_id,
            "message_id": message_id,
            "reporter_id": reporter_id,
            "reason": reason,
            "created_at": datetime.now(UTC),
        }
        theirs = (Rows.server_id == server_id, Rows.reporter_id == reporter_id, Rows.done_at.is_(None))
        columns: tuple[Any, ...] = (Rows,)
        with self._writing() as connection:
            if message_id is not None:
                same = connection.execute(select(*columns).where(*theirs, Rows.message_id == message_id)).first()
                if same is not None:
                    return _report(same), False
            if connection.execute(select(func.count()).where(*theirs)).scalar_one() >= most:
                return None
            number = connection.execute(insert(Rows).values(**values).returning(Rows.id)).scalar_one()
            return _report(connection.execute(select(*columns).where(Rows.id == number)).one()), True

    def open(self, server_id: int, limit: int) -> tuple[Report, ...]:
        """Return the open reports of a server, the oldest first."""
        columns: tuple[Any, ...] = (Rows,)
        query = select(*columns).where(Rows.server_id == server_id, Rows.done_at.is_(None))
        with self._reading() as connection:
            return tuple(map(_report, connection.execute(query.order_by(Rows.id).limit(limit))))

    def done(self, server_id: int, number: int, by: int) -> bool | None:
        """Note that a report needs nothing more; whether it was open, and None when the server has no such report."""
        which = (Rows.id == number, Rows.server_id == server_id)
        closed = update(Rows).where(*which, Rows.done_at.is_(None)).values(done_at=datetime.now(UTC), done_by=by)
        with self._writing() as connection:
            if connection.execute(closed).rowcount:
                return True
            return None if connection.scalar(select(Rows.id).where(*which)) is None else False

    def of(self, person_id: int) -> tuple[Report, ...]:
        """Return everything that a person reported, the newest first."""
        columns: tuple[Any, ...] = (Rows,)
        query = select(*columns).where(Rows.reporter_id == person_id).order_by(Rows.id.desc())
        with self._reading() as connection:
            return tuple(map(_report, connection.execute(query)))

    def forget_before(self, moment: datetime) -> int:
        """Let go of reports from before then, open ones too; return how many."""
        with self._writing() as connection:
            return connection.execute(delete(Rows).where(Rows.created_at < moment)).rowcount


def _report(row: Any) -> Report:
    return Report(
        row.id,
        row.server_id,
        row.channel_id,
        row.message_id,
        row.reporter_id,
        row.reason,
        row.created_at,
        row.done_at,
    )

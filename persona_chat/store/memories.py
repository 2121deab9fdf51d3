"""What people changed of what personas remember in channels: all SQL about it as verbs of `Memories`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from persona_chat.store.library import Begin
from persona_chat.store.tables import ANSWERED, Channels, Messages, Replies, Revisions
from persona_chat.store.tables import Memories as Rows


@dataclass(frozen=True)
class Changed:
    """What somebody made of the notes in a channel, by Discord's id."""

    channel_id: int
    notes: tuple[str, ...]
    edited_at: datetime


class Memories:
    """The changed memories in a database. One counts until the channel is reset, and again when that is undone."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def all(self) -> frozenset[tuple[int, int]]:
        """Return for which channels and personas there is one."""
        with self._reading() as connection:
            return frozenset(
                (row.channel_id, row.persona_id) for row in connection.execute(select(Rows.channel_id, Rows.persona_id))
            )

    def of(self, channel_id: int, persona_id: int, before: int | None = None) -> tuple[tuple[str, ...], int] | None:
        """Return the notes, and how many exchanges the persona had there after they were changed.

        Of these only those count that were before the message with Discord's id `before`.
        """
        with self._reading() as connection:
            query = select(Rows).where(Rows.channel_id == channel_id, Rows.persona_id == persona_id)
            row = connection.execute(query).one_or_none()
            since = connection.scalar(select(Channels.since).where(Channels.id == channel_id)) or 0
            if row is None or row.since != since:
                return None
            newer = (
                select(func.count())
                .select_from(Messages)
                .join(Replies, (Replies.message_id == Messages.id) & (Replies.number == Messages.shown))
                .join(Revisions, Revisions.id == Replies.revision_id)
                .where(
                    Messages.channel_id == channel_id,
                    Messages.state == ANSWERED,
                    Messages.id > row.upto,
                    Revisions.persona_id == persona_id,
                )
            )
            if before is not None:
                at = select(Messages.id).where(Messages.message_id == before).scalar_subquery()
                newer = newer.where(Messages.id < at)
            return tuple(row.notes), connection.execute(newer).scalar_one()

    def by(self, person_id: int) -> tuple[Changed, ...]:
        """Return what a person changed."""
        query = select(Rows).where(Rows.by == person_id).order_by(Rows.edited_at)
        with self._reading() as connection:
            return tuple(Changed(row.channel_id, tuple(row.notes), row.edited_at) for row in connection.execute(query))

    def keep(self, channel_id: int, persona_id: int, notes: Sequence[str], by: int) -> None:
        """Let the persona remember these notes of all that was said there until now, and no others."""
        with self._writing() as connection:
            said = Messages.channel_id == channel_id
            self._put(connection, channel_id, persona_id, said, list(notes), by, datetime.now(UTC))

    def let_go(self, channel_id: int, persona_id: int, before: datetime) -> None:
        """Let the persona remember nothing of what was said there before then, unless that was changed since."""
        there = select(Rows.edited_at).where(Rows.channel_id == channel_id, Rows.persona_id == persona_id)
        with self._writing() as connection:
            edited_at = connection.scalar(there)
            if edited_at is None or edited_at < before:
                said = (Messages.channel_id == channel_id) & (Messages.claimed_at < before)
                self._put(connection, channel_id, persona_id, said, [], None, before)

    def _put(
        self,
        connection: Connection,
        channel_id: int,
        persona_id: int,
        said: ColumnElement[bool],
        notes: list[str],
        by: int | None,
        at: datetime,
    ) -> None:
        newest = connection.scalar(select(func.max(Messages.id)).where(said)) or 0
        since = connection.scalar(select(Channels.since).where(Channels.id == channel_id)) or 0
        new = {"notes": notes, "upto": newest, "since": since, "by": by, "edited_at": at}
        row = self._insert(Rows).values(channel_id=channel_id, persona_id=persona_id, **new)
        key = [Rows.channel_id, Rows.persona_id]
        connection.execute(row.on_conflict_do_update(index_elements=key, set_=new))

"""Which persona talks where: all SQL about it as verbs of `Seating`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, select

from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.library import Begin, Kept, Library, current, kept_of, one
from persona_chat.store.statements import Statements
from persona_chat.store.tables import Personas, Revisions, Seats


@dataclass(frozen=True)
class Seated:
    """Who talks in a place: `spot` is where it was set, and `set_by` by whom, by Discord's id.

    `revision_id` is what its replies are saved under.
    """

    kept: Kept
    spot: Spot
    revision_id: int
    set_by: int | None

    @property
    def persona(self) -> Persona:
        """Its words."""
        return self.kept.persona


class Seating:
    """The seats in a database, each with one persona of the library."""

    def __init__(
        self, reading: Begin, writing: Begin, insert: Callable[..., Any], statements: Statements, library: Library
    ) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert
        self._statements = statements
        self._library = library

    def seat(self, spot: Spot, persona_id: int, by: int | None = None) -> None:
        """Let a persona talk at the spot."""
        with self._writing() as connection:
            self._seat(connection, spot, persona_id, by)

    def put(self, spot: Spot, home: Spot, persona: Persona, by: int | None = None) -> Kept:
        """Let a persona in these words talk at the spot: its home's one of that name, edited, or a new one."""
        with self._writing() as connection:
            kept = self._library.put(connection, home, persona, by)
            self._seat(connection, spot, kept.id, by)
            return kept

    def unseat(self, spot: Spot) -> Kept | None:
        """Let nobody talk at the spot; return who did. What was said stays, for when that one returns."""
        with self._writing() as connection:
            before = _at(connection, spot)
            connection.execute(delete(Seats).where(Seats.scope == spot.scope.value, Seats.spot_id == spot.id))
            return before

    def at(self, spot: Spot) -> Kept | None:
        """Return who was set for exactly this spot."""
        with self._reading() as connection:
            return _at(connection, spot)

    def seated(self, place: Place) -> Seated | None:
        """Return who talks in this place to this person: the first of thread, me, channel, server that was set.

        A server's persona stays in its server, also for somebody who chose it for everywhere.
        """
        with self._reading() as connection:
            return self.seated_in(connection, place)

    def seated_in(self, connection: Connection, place: Place) -> Seated | None:
        """Do the same inside a transaction of the store."""
        ids = {f"{scope}_id": spot.id if (spot := place.find(scope)) else None for scope in Scope}
        row = connection.execute(self._statements.seated, ids).first()
        if row is None:
            return None
        return Seated(kept_of(row), Spot(Scope(row.scope), row.spot_id), row.revision_id, row.set_by)

    def spots(self) -> dict[Spot, tuple[int, str]]:
        """Return every spot where somebody talks, with the persona's id and name."""
        query = (
            select(Seats.scope, Seats.spot_id, Personas.id, Revisions.name)
            .join(Personas, Personas.id == Seats.persona_id)
            .join(Revisions, (Revisions.persona_id == Personas.id) & (Revisions.number == Personas.current))
            .where(Personas.deleted_at.is_(None))
        )
        with self._reading() as connection:
            return {Spot(Scope(row.scope), row.spot_id): (row.id, row.name) for row in connection.execute(query)}

    def _seat(self, connection: Connection, spot: Spot, persona_id: int, by: int | None) -> None:
        row = self._insert(Seats).values(
            scope=spot.scope.value, spot_id=spot.id, persona_id=persona_id, by=by, updated_at=datetime.now(UTC)
        )
        new = {name: row.excluded[name] for name in ("persona_id", "by", "updated_at")}
        connection.execute(row.on_conflict_do_update(index_elements=[Seats.scope, Seats.spot_id], set_=new))


def _at(connection: Connection, spot: Spot) -> Kept | None:
    there = Personas.deleted_at.is_(None), Seats.scope == spot.scope.value, Seats.spot_id == spot.id
    return one(connection, current().join(Seats, Seats.persona_id == Personas.id).where(*there))

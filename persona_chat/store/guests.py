"""Who is invited to which channel: all SQL about it as verbs of `GuestBook`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, delete, or_, select

from persona_chat.place import Place, Scope, Spot
from persona_chat.store.library import WORDS, Begin, kept_of
from persona_chat.store.seating import Seated
from persona_chat.store.tables import Guests, Personas, Revisions


@dataclass(frozen=True)
class Guest:
    """A persona that answers at the spot when its name, or its trigger (empty: none), is said."""

    persona_id: int
    spot: Spot
    name: str
    trigger: str
    by: int | None


class GuestBook:
    """The invitations in a database. Deleted personas keep theirs, for when they are restored."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def all(self) -> dict[Spot, tuple[Guest, ...]]:
        """Return every spot's guests, the longest there first."""
        columns: tuple[Any, ...] = (
            *(Guests.scope, Guests.spot_id, Guests.persona_id),
            *(Guests.trigger, Guests.by, Revisions.name),
        )
        query = (
            select(*columns)
            .join(Personas, Personas.id == Guests.persona_id)
            .join(Revisions, _CURRENT)
            .where(Personas.deleted_at.is_(None))
            .order_by(Guests.scope, Guests.spot_id, Guests.invited_at, Guests.persona_id)
        )
        with self._reading() as connection:
            guests = [
                Guest(row.persona_id, Spot(Scope(row.scope), row.spot_id), row.name, row.trigger, row.by)
                for row in connection.execute(query)
            ]
        return {spot: tuple(there) for spot, there in groupby(guests, lambda guest: guest.spot)}

    def invite(self, spot: Spot, persona_id: int, trigger: str, by: int | None) -> None:
        """Invite a persona; one that is there keeps its turn and gets this trigger."""
        row = self._insert(Guests).values(
            scope=spot.scope.value,
            spot_id=spot.id,
            persona_id=persona_id,
            trigger=trigger,
            by=by,
            invited_at=datetime.now(UTC),
        )
        key = [Guests.scope, Guests.spot_id, Guests.persona_id]
        new = {name: row.excluded[name] for name in ("trigger", "by")}
        with self._writing() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=key, set_=new))

    def dismiss(self, spot: Spot, persona_id: int) -> None:
        """Let a persona go."""
        with self._writing() as connection:
            connection.execute(delete(Guests).where(_at(spot), Guests.persona_id == persona_id))


def guest_in(connection: Connection, place: Place, persona_id: int) -> Seated | None:
    """Return a guest of this place with its words, inside a transaction of the store; None when it has left."""
    spots = [spot for scope in (Scope.THREAD, Scope.CHANNEL) if (spot := place.find(scope)) is not None]
    columns: tuple[Any, ...] = (
        *(Guests.scope, Guests.spot_id, Guests.by.label("invited_by")),
        *(Personas.id, Personas.home, Personas.home_id, Personas.by),
        *(Revisions.id.label("revision_id"), Revisions.number, *WORDS),
    )
    query = (
        select(*columns)
        .join(Personas, Personas.id == Guests.persona_id)
        .join(Revisions, _CURRENT)
        .where(or_(*map(_at, spots)), Guests.persona_id == persona_id, Personas.deleted_at.is_(None))
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    return Seated(kept_of(row), Spot(Scope(row.scope), row.spot_id), row.revision_id, row.invited_by)


_CURRENT = and_(Revisions.persona_id == Personas.id, Revisions.number == Personas.current)


def _at(spot: Spot) -> Any:
    return and_(Guests.scope == spot.scope.value, Guests.spot_id == spot.id)

"""The personas of servers and people, and their revisions: all SQL about them as verbs of `Library`."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, tuple_, update

from persona_chat.errors import InputError, NameTaken, PersonaGone
from persona_chat.language import _
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.store.tables import Personas, Revisions

Begin = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Kept:
    """A persona as it is kept: `id` stays with it, `number` is its current revision, `by` the person who made it."""

    id: int
    home: Spot
    persona: Persona
    number: int
    by: int | None


@dataclass(frozen=True)
class Revision:
    """The words of a persona from one moment on. `by` is Discord's id of who wrote them."""

    number: int
    persona: Persona
    by: int | None
    written_at: datetime


class Library:
    """The personas in a database. What is deleted can be restored until its name is used again."""

    def __init__(self, reading: Begin, writing: Begin) -> None:
        self._reading, self._writing = reading, writing

    def create(self, home: Spot, persona: Persona, by: int | None) -> Kept:
        """Keep a new persona. Raises NameTaken, unless the one of that name has exactly these words."""
        with self._writing() as connection:
            there = one(connection, _named(home, persona.name))
            if there is not None and there.persona != persona:
                raise NameTaken(persona.name)
            return there or _create(connection, home, persona, by)

    def edit(self, persona_id: int, persona: Persona, by: int | None) -> Kept:
        """Give a persona new words. Raises NameTaken, and PersonaGone."""
        with self._writing() as connection:
            return _edit(connection, _there(connection, persona_id), persona, by)

    def put(self, connection: Connection, home: Spot, persona: Persona, by: int | None) -> Kept:
        """Keep a persona in these words: its home's one of that name, edited, or a new one. Inside a transaction."""
        there = one(connection, _named(home, persona.name))
        if there is None:
            return _create(connection, home, persona, by)
        return _edit(connection, there, persona, by)

    def named(self, home: Spot, name: str) -> Kept | None:
        """Return the home's persona of that name, however it is written."""
        with self._reading() as connection:
            return one(connection, _named(home, name))

    def get(self, persona_id: int, *, also_deleted: bool = False) -> Kept | None:
        """Return a persona by its id; None when it was deleted, unless such are wanted too."""
        query = current().where(Personas.id == persona_id)
        with self._reading() as connection:
            return one(connection, query if also_deleted else query.where(Personas.deleted_at.is_(None)))

    def is_from_before(self, persona_id: int, moment: datetime) -> bool:
        """Whether there is a persona of that id, deleted or not, that was made before then."""
        query = select(Personas.id).where(Personas.id == persona_id, Personas.created_at < moment)
        with self._reading() as connection:
            return connection.scalar(query) is not None

    def list(self, homes: Iterable[Spot]) -> tuple[Kept, ...]:
        """Return the personas of these homes, by name."""
        of_homes = tuple_(Personas.home, Personas.home_id).in_([(home.scope.value, home.id) for home in homes])
        with self._reading() as connection:
            rows = connection.execute(current().where(of_homes, Personas.deleted_at.is_(None)).order_by(Personas.key))
            return tuple(map(kept_of, rows))

    def delete(self, persona_id: int) -> bool:
        """Take a persona away from everywhere; whether it was there."""
        with self._writing() as connection:
            there = update(Personas).where(Personas.id == persona_id, Personas.deleted_at.is_(None))
            return bool(connection.execute(there.values(deleted_at=_now())).rowcount)

    def restore(self, persona_id: int) -> Kept:
        """Bring a deleted persona back to where it was. Raises NameTaken when its name is used again."""
        with self._writing() as connection:
            kept = one(connection, current().where(Personas.id == persona_id))
            if kept is None:
                raise PersonaGone
            other = one(connection, _named(kept.home, kept.persona.name))
            if other is not None and other.id != kept.id:
                raise NameTaken(kept.persona.name)
            connection.execute(update(Personas).where(Personas.id == persona_id).values(deleted_at=None))
            return kept

    def revisions(self, persona_id: int) -> tuple[Revision, ...]:
        """Return all words that a persona had, the newest first."""
        query = select(Revisions).where(Revisions.persona_id == persona_id).order_by(Revisions.number.desc())
        with self._reading() as connection:
            return tuple(
                Revision(row.number, persona_of(row), row.by, row.created_at) for row in connection.execute(query)
            )

    def return_to(self, persona_id: int, number: int) -> Kept:
        """Make an earlier revision the current one. Raises NameTaken, PersonaGone, and InputError."""
        with self._writing() as connection:
            there = _there(connection, persona_id)
            query = select(Revisions).where(Revisions.persona_id == persona_id, Revisions.number == number)
            row = connection.execute(query).one_or_none()
            if row is None:
                text = _("There is no revision {number}. `/persona history` shows which there are.")
                raise InputError(text.format(number=number))
            _check_name(connection, there, row.name)
            _point(connection, persona_id, number, row.name)
            return Kept(there.id, there.home, persona_of(row), number, there.by)


def key_of(name: str) -> str:
    """Return the name as personas are found by it."""
    return " ".join(name.casefold().split())


def _create(connection: Connection, home: Spot, persona: Persona, by: int | None) -> Kept:
    made = insert(Personas).values(
        home=home.scope.value, home_id=home.id, key=key_of(persona.name), current=1, by=by, created_at=_now()
    )
    persona_id = connection.execute(made.returning(Personas.id)).scalar_one()
    _write(connection, persona_id, 1, persona, by)
    return Kept(persona_id, home, persona, 1, by)


def _edit(connection: Connection, there: Kept, persona: Persona, by: int | None) -> Kept:
    if there.persona == persona:
        return there
    _check_name(connection, there, persona.name)
    newest = select(func.max(Revisions.number)).where(Revisions.persona_id == there.id)
    number = connection.execute(newest).scalar_one() + 1
    _write(connection, there.id, number, persona, by)
    _point(connection, there.id, number, persona.name)
    return Kept(there.id, there.home, persona, number, there.by)


def _write(connection: Connection, persona_id: int, number: int, persona: Persona, by: int | None) -> None:
    connection.execute(
        insert(Revisions).values(
            persona_id=persona_id,
            number=number,
            name=persona.name,
            about=persona.about,
            facts=list(persona.facts),
            greeting=persona.greeting,
            age_restricted=persona.age_restricted,
            avatar_url=persona.avatar_url,
            by=by,
            created_at=_now(),
        )
    )


def current() -> Select[Any]:
    """Personas, deleted ones too, with the words that count."""
    columns: tuple[Any, ...] = (Personas.id, Personas.home, Personas.home_id, Personas.by, Revisions.number, *WORDS)
    words = (Revisions.persona_id == Personas.id) & (Revisions.number == Personas.current)
    return select(*columns).join(Revisions, words)


WORDS: tuple[Any, ...] = (
    *(Revisions.name, Revisions.about, Revisions.facts),
    *(Revisions.greeting, Revisions.age_restricted, Revisions.avatar_url),
)
"""The columns that `persona_of` reads."""


def _named(home: Spot, name: str) -> Select[Any]:
    return current().where(
        Personas.home == home.scope.value,
        Personas.home_id == home.id,
        Personas.key == key_of(name),
        Personas.deleted_at.is_(None),
    )


def one(connection: Connection, query: Select[Any]) -> Kept | None:
    """Return the one persona of a query made from `current`."""
    row = connection.execute(query).one_or_none()
    return None if row is None else kept_of(row)


def _there(connection: Connection, persona_id: int) -> Kept:
    kept = one(connection, current().where(Personas.id == persona_id, Personas.deleted_at.is_(None)))
    if kept is None:
        raise PersonaGone
    return kept


def _check_name(connection: Connection, there: Kept, name: str) -> None:
    other = one(connection, _named(there.home, name))
    if other is not None and other.id != there.id:
        raise NameTaken(name)


def _point(connection: Connection, persona_id: int, number: int, name: str) -> None:
    connection.execute(update(Personas).where(Personas.id == persona_id).values(current=number, key=key_of(name)))


def kept_of(row: Row[Any]) -> Kept:
    """Return the persona of a row with the columns of `current`."""
    return Kept(row.id, Spot(Scope(row.home), row.home_id), persona_of(row), row.number, row.by)


def persona_of(row: Row[Any]) -> Persona:
    """Return the words of a row with the columns WORDS."""
    return Persona(row.name, row.about, tuple(row.facts), row.greeting, row.age_restricted, row.avatar_url)


def _now() -> datetime:
    return datetime.now(UTC)

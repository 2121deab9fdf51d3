"""Brings the words that a database holds already under the keys of now: encrypts, encrypts anew, or decrypts.

Nothing is noted about how far it came: what is still to do is seen from the words themselves, so it can be cut off
at any moment and begun again.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Engine,
    Table,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.types import Text

from persona_chat.errors import KeyMissing
from persona_chat.store.database import for_reading, scrub
from persona_chat.store.keys import MARK, PLAIN, Keys
from persona_chat.store.tables import Base
from persona_chat.store.tables.spoken import Spoken, SpokenList

BATCH = 200
"""Rows that are written in one transaction, so that nobody waits long for the lock."""

ID = 8
"""Characters of a key's id."""


def see_that_keys_are_there(engine: Engine, keys: Keys) -> None:
    """See that everything that is encrypted is so under one of these. Raises KeyMissing."""
    there = {key.id for key in keys.all}
    with for_reading(engine).begin() as connection:
        for _table, column in _columns():
            raw, start = _raw(column)
            sealed = and_(_begins(raw, start, MARK), ~_begins(raw, start, PLAIN))
            ids = connection.scalars(select(func.substr(raw, start + len(MARK), ID)).where(sealed).distinct())
            for missing in sorted(set(ids) - there):
                raise KeyMissing(missing)


def is_done(engine: Engine, keys: Keys) -> bool:
    """Whether all words are kept as these keys write."""
    with for_reading(engine).begin() as connection:
        return all(
            connection.execute(select(*table.primary_key).where(_stale(table, keys)).limit(1)).first() is None
            for table in _tables()
        )


def seal_all(engine: Engine, keys: Keys) -> int:
    """Keep all words as these keys write; return how many rows that changed. `engine` was opened with these keys.

    Raises KeyMissing and WordsUnreadable; rows that were done stay done.
    """
    see_that_keys_are_there(engine, keys)
    changed = sum(_seal(engine, table, keys) for table in _tables())
    if changed:
        scrub(engine, whole=True)  # pages still hold the words as they were
    return changed


def _seal(engine: Engine, table: Table, keys: Keys) -> int:
    identity = list(table.primary_key)
    columns = [column for column in table.columns if isinstance(column.type, Spoken | SpokenList)]
    stale = _stale(table, keys)
    with for_reading(engine).begin() as connection:
        rows = [tuple(row) for row in connection.execute(select(*identity).where(stale))]
    new = (
        update(table)
        .where(*(column == bindparam(f"of_{column.name}") for column in identity))
        .values({column.name: bindparam(f"new_{column.name}", type_=column.type) for column in columns})
    )
    for start in range(0, len(rows), BATCH):
        some = and_(tuple_(*identity).in_(rows[start : start + BATCH]), stale)
        with engine.begin() as connection:
            found = connection.execute(select(*identity, *columns).where(some).with_for_update()).mappings().all()
            values = [
                {f"of_{column.name}": row[column] for column in identity}
                | {f"new_{column.name}": row[column] for column in columns}
                for row in found
            ]
            if values:
                connection.execute(new, values)
    return len(rows)


def _stale(table: Table, keys: Keys) -> ColumnElement[bool]:
    """The rows with words that are not kept as these keys write."""
    return or_(*(_differs(column, keys) for of, column in _columns() if of is table))


def _differs(column: Any, keys: Keys) -> ColumnElement[bool]:
    raw, start = _raw(column)
    if keys.begin:
        return and_(column.is_not(None), raw != "", ~_begins(raw, start, keys.begin))
    return and_(_begins(raw, start, MARK), ~_begins(raw, start, PLAIN))


def _begins(raw: ColumnElement[str], start: int, mark: str) -> ColumnElement[bool]:
    return func.substr(raw, start, len(mark)) == mark


def _raw(column: Any) -> tuple[ColumnElement[str], int]:
    """What is written in the column, and where a mark begins in it: in JSON behind a quotation mark."""
    return cast(column, Text), 2 if isinstance(column.type, SpokenList) else 1


def _tables() -> Iterator[Table]:
    yield from dict.fromkeys(table for table, _column in _columns())


def _columns() -> Iterator[tuple[Table, Any]]:
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Spoken | SpokenList):
                yield table, column

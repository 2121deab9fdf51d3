"""Which adapter is in service: the statements behind the store's verbs for it, and a look from outside."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, inspect, select

from persona_chat.store.database import explained, for_reading, has_file, open_to_look, parse_url, sqlite_file
from persona_chat.store.tables import Services

_TABLE = "services"


@dataclass(frozen=True)
class Service:
    """That an adapter of the registry, by its name, went into service; None is the plain base."""

    adapter: str | None
    why: str
    since: datetime


def newest(connection: Connection, limit: int) -> tuple[Service, ...]:
    """Return the last `limit` services, the newest first; the first of them is the one pointer."""
    rows = connection.execute(
        select(Services.adapter, Services.why, Services.since).order_by(Services.id.desc()).limit(limit)
    )
    return tuple(Service(row.adapter, row.why, row.since) for row in rows)


def add(connection: Connection, adapter: str | None, why: str) -> None:
    """Put the adapter in service, unless it is."""
    pointer = newest(connection, 1)
    if not pointer or pointer[0].adapter != adapter:
        connection.execute(insert(Services).values(adapter=adapter, why=why, since=datetime.now(UTC)))


def look(url: str) -> Service | None:
    """Return which adapter the database says is in service, and change no byte of it; None where it says nothing.

    That is so where there is no database yet, or one that is older than this table. Raises DatabaseUnusable.
    """
    path = sqlite_file(parse_url(url))
    if path is not None and not has_file(path):
        return None
    engine = open_to_look(url)
    try:
        with explained(path), for_reading(engine).connect() as connection:
            pointer = newest(connection, 1) if inspect(connection).has_table(_TABLE) else ()
    finally:
        engine.dispose()
    return pointer[0] if pointer else None

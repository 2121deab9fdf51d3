"""Opening the database: where it lies, how SQLite is set up, and clear errors when it cannot be used."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from persona_chat.errors import DatabaseUnusable, DataFolderUnusable, SettingsError

DATABASE = "persona-chat.sqlite3"

# foreign_keys and busy_timeout hold for one connection only. FULL loses no commit on a power cut; secure_delete
# overwrites what is deleted.
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "secure_delete=ON",
    "trusted_schema=OFF",
)


def default_url(data_dir: Path, name: str = DATABASE) -> str:
    """The URL of an SQLite file in the data folder."""
    return URL.create("sqlite", database=str(data_dir / name)).render_as_string(hide_password=False)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for any other database."""
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:":
        raise SettingsError("PERSONA_CHAT_DATABASE_URL: an SQLite database must be a file.")
    return Path(parsed.database)


def open_database(url: str) -> Engine:
    """Return the engine of the database; its folder is made, the file is readable by its owner only.

    Raises SettingsError, DataFolderUnusable or DatabaseUnusable with what to do.
    """
    file = sqlite_file(url)
    if file is not None:
        _make_file(file)
    # Errors of the database would print the bound values, which are people's words.
    engine = create_engine(_parse(url), hide_parameters=True, pool_pre_ping=file is None)
    if file is not None:
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    with usable(url), engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master" if file is not None else "SELECT 1")
    return engine


@contextmanager
def usable(url: str) -> Iterator[None]:
    """Turn the driver's errors into DatabaseUnusable, with the cause and without any values."""
    try:
        yield
    except DBAPIError as error:
        raise DatabaseUnusable(_cause(url, error)) from None


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, ImportError) as error:
        raise SettingsError(f"PERSONA_CHAT_DATABASE_URL cannot be used ({type(error).__name__}).") from None
    return parsed


def _make_file(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("r+b"):
            pass
        probe = file.with_name(f".{file.name}.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DataFolderUnusable(
            f"{file} cannot be written ({error.strerror}). "
            "Change the folder's owner or rights, or set PERSONA_CHAT_DATA_DIR to another one."
        ) from None


def _set_up(connection: sqlite3.Connection, _record: Any) -> None:
    # Python's own transaction control begins too late and not for reads; `_begin` does it instead.
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-serializable
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # A reader that becomes a writer in the middle fails at once with "locked"; IMMEDIATE waits its turn.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _cause(url: str, error: DBAPIError) -> str:
    where = sqlite_file(url) or _parse(url).render_as_string(hide_password=True)
    said = str(error.orig)
    if "not a database" in said or "malformed" in said:
        return f"{where} is damaged ({said}). Nothing was changed. Restore a copy from the folder `backups`."
    if "locked" in said or "busy" in said:
        return f"{where} is in use by another process. Stop the other bot, or give this one its own data folder."
    if isinstance(error, (OperationalError, ProgrammingError)):
        return f"{where} cannot be used ({said.splitlines()[0]})."
    return f"{where} cannot be used ({type(error).__name__})."

"""Opens the database: how connections are set up and transactions begin, and what its errors mean to a person."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from persona_chat.errors import DatabaseUnusable, DataFolderUnusable, SettingsError
from persona_chat.store import server
from persona_chat.store.keys import NO_KEYS, Keys
from persona_chat.store.tables.spoken import give_keys

log = logging.getLogger(__name__)

DATABASE = "persona-chat.sqlite3"
DEMO_DATABASE = "demo.sqlite3"
"""The demo's own file: what is tried there never mixes with a bot's."""

# Per connection, in this order: whoever waits for the lock must do so from the first statement on.
PRAGMAS = {
    "busy_timeout": "5000",  # milliseconds
    "journal_mode": "WAL",
    "synchronous": "FULL",  # NORMAL may lose the last commits when the power fails
    "foreign_keys": "ON",
    "secure_delete": "ON",  # deleted text is overwritten with zeros
    "trusted_schema": "OFF",
}

READ_ONLY = "persona_chat_read_only"

NO_URL = (
    "PERSONA_CHAT_DATABASE_URL is not a database URL we can use: either sqlite:////folder/file.sqlite3, a file, "
    "or postgresql+psycopg://user:password@host/name. Leave it out for a file in the data folder."
)
NO_DRIVER = (
    "The Python driver that PERSONA_CHAT_DATABASE_URL names is not installed. For postgresql+psycopg:// run "
    "`pip install 'psycopg[binary]'`."
)
SPOILED = (
    "{path} is damaged or is no SQLite database. Move it away to start afresh, or put the newest file of {backups} in "
    "its place."
)
UNUSABLE = "{path} cannot be used. Check the disk, and that we may read and write the file and its folder."
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
UNWRITABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
AWAY = (OperationalError, InternalError)
"""A database that is locked, full, away, or (the second) only lets us read; it may be back a moment later."""


def default_url(data_dir: Path, name: str = DATABASE) -> str:
    """Return the URL of the SQLite file `name` in the data folder."""
    return URL.create("sqlite", database=str(data_dir.absolute() / name)).render_as_string()


def parse_url(url: str) -> URL:
    """Read a database URL. Raises SettingsError, which never shows it: it may hold a password."""
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SettingsError(NO_URL) from None
    # In memory each thread would have a database of its own.
    in_memory = not parsed.database or parsed.database.startswith((":memory:", "file:"))
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and in_memory):
        raise SettingsError(NO_URL)
    return parsed


def sqlite_file(url: URL) -> Path | None:
    """Return the file of an SQLite URL; None for a server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def backups_of(path: Path) -> Path:
    """Return the folder where backups of an SQLite file are kept."""
    return path.parent / "backups"


def has_file(path: Path) -> bool:
    """Whether there is something at `path`. Raises DataFolderUnusable where we may not look."""
    try:
        return path.exists()
    except OSError as error:
        raise folder_unusable(path.parent, error) from None


def open_database(url: str, keys: Keys = NO_KEYS) -> Engine:
    """Open the database, making an SQLite file and its folder where there are none (for their owner only).

    What people said is read and kept under `keys`.

    A transaction takes the write lock when it begins, except on `for_reading(engine)`. Raises SettingsError
    for a URL that cannot be used, DataFolderUnusable, and DatabaseUnusable.
    """
    parsed = parse_url(url)
    path = sqlite_file(parsed)
    try:
        # hide_parameters: values, people's texts among them, stay out of logs and errors.
        extra = server.CONNECT if path is None else {}
        engine = create_engine(parsed, hide_parameters=True, pool_pre_ping=path is None, connect_args=dict(extra))
    except (ImportError, NoSuchModuleError):
        raise SettingsError(NO_DRIVER) from None
    event.listen(engine, "begin", _begin)
    give_keys(engine, keys)
    try:
        with explained(path):
            if path is None:
                _try(engine)
            else:
                event.listen(engine, "connect", _set_up)
                with alone_in(path.parent):
                    _make_file(path)
                    _try(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def open_to_look(url: str) -> Engine:
    """Open an existing database without changing a byte of it, not even its journal mode."""
    path = sqlite_file(parse_url(url))
    if path is None:
        return open_database(url)
    address = f"{path.absolute().as_uri()}?mode=ro"
    return create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)


def for_reading(engine: Engine) -> Engine:
    """Return the same engine with transactions that only read, and so wait for no writer."""
    extra = server.READING if engine.dialect.name == "postgresql" else {}
    return engine.execution_options(**{READ_ONLY: True}, **extra)


def scrub(engine: Engine, *, whole: bool) -> bool:
    """Empty an SQLite database's log, and with `whole` write its file anew; whether that was done.

    `secure_delete` overwrites a row where it is, but not the copies that SQLite left behind when it moved rows from one
    page to another: of 17,500 words deleted in a test 89 could still be read from the file. Writing 2 MB anew takes
    about 10 ms, 55 MB 0.4 s; readers go on meanwhile. A server does that its own way.
    """
    if engine.dialect.name != "sqlite":
        return True
    # Past SQLAlchemy, which would begin a transaction, where neither works.
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        if whole:
            cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        row = cursor.fetchone()
    except sqlite3.OperationalError as error:  # no room on the disk, or another program holds the lock
        log.warning("the database's file could not be written anew: %s", error.sqlite_errorname)
        return False
    finally:
        raw.close()
    return row is not None and not row[0]  # whether it was held up


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn what a person can mend of the database at `path` (None: a server) into DatabaseUnusable.

    Other errors of the database are ours, and pass as they are.
    """
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        text = server.trouble(error) if path is None else _file_trouble(path, error)
        if text is None:
            raise
        raise DatabaseUnusable(text) from error


def _file_trouble(path: Path, error: DBAPIError | sqlite3.Error) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    # The low byte is the kind of error, the rest of it says where.
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in DAMAGED:
        return SPOILED.format(path=path, backups=backups_of(path))
    if code in LOCKED:
        return f"{path} is locked by another program. Stop that one and try again."
    if code in UNWRITABLE:
        return UNUSABLE.format(path=path)
    if code == sqlite3.SQLITE_FULL:
        return f"There is no room left for {path}. Make room on the disk and try again."
    return None


def _try(engine: Engine) -> None:
    with for_reading(engine).connect() as connection:
        connection.exec_driver_sql("SELECT 1")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others from opening or copying a database in the folder, which is made if need be.

    SQLite waits for no lock while it turns a new file to WAL: of two at once, one would fail.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise folder_unusable(folder, error) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _make_file(path: Path) -> None:
    try:
        # Only a new file is opened: closing one that is in use drops all of this process's locks on it
        # (https://sqlite.org/howtocorrupt.html, 2.2). The -wal and -shm files get the same rights.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise DatabaseUnusable(f"{path} is a folder, where the database file should be. Move it away.") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise DatabaseUnusable(UNUSABLE.format(path=path)) from None
    except OSError as error:
        raise folder_unusable(path.parent, error) from None


def folder_unusable(folder: Path, error: OSError) -> DataFolderUnusable:
    """Return the error that says why nothing can be kept in the folder, and what to do."""
    return DataFolderUnusable(
        f"The database cannot be kept in {folder} ({error.strerror}). Make that folder writable, or choose "
        "another one with --data-dir or PERSONA_CHAT_DATA_DIR."
    )


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    # Left alone, sqlite3 begins transactions late and not at all before SELECT and DDL:
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#pysqlite-transactions
    connection.isolation_level = None
    for name, value in PRAGMAS.items():
        connection.execute(f"PRAGMA {name}={value}").close()


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get(READ_ONLY, False)
    if connection.dialect.name == "postgresql":
        if not reads:
            server.take_turns(connection)
        return
    # A transaction that reads first and then writes fails at once when another wrote in between, whatever the
    # busy_timeout; IMMEDIATE waits for its turn.
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

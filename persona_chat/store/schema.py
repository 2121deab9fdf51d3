"""Brings a database to the revision this version needs, and says where one stands. Alembic stays behind it."""

import importlib.util
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from persona_chat.errors import DatabaseTooNew, DatabaseUnusable
from persona_chat.store.backup import back_up
from persona_chat.store.database import (
    SPOILED,
    backups_of,
    explained,
    for_reading,
    has_file,
    open_database,
    open_to_look,
    parse_url,
    sqlite_file,
)

VERSION_TABLE = "alembic_version"

TOO_NEW = (
    "The database is at revision {current}, which this version ({head}) does not know: a newer version made it. "
    "Nothing was changed. Install that version again, or choose another data folder."
)
NOT_OURS = (
    "The database holds tables of something else and none of ours; none was touched. Choose another file or an "
    "empty database."
)
ORPHANS = (
    "After the upgrade {count} rows would point at rows that are not there, so it was undone and nothing was "
    "changed. Please report this with the names of the tables: {tables}."
)

Standing = Literal["up to date", "behind", "empty", "newer"]


@dataclass(frozen=True)
class SchemaState:
    """Where a database stands. `current` is its revision (None: empty), `head` the one this version needs."""

    current: str | None
    head: str
    known: bool = True
    """Whether this version knows the database's revision."""

    @property
    def standing(self) -> Standing:
        """What that means: only `up to date` can be used, only `newer` cannot be upgraded."""
        if self.current is None:
            return "empty"
        if not self.known:
            return "newer"
        return "up to date" if self.current == self.head else "behind"


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did: from revision `before` (None: empty) to `after`. `backup` is the copy made first."""

    before: str | None
    after: str
    backup: Path | None


def check(url: str) -> SchemaState:
    """Say where the database stands, and make nothing: no file means empty.

    Raises DatabaseUnusable, also for a database that is something else's.
    """
    path = sqlite_file(parse_url(url))
    if path is not None and not has_file(path):
        return SchemaState(None, _head(_scripts()))
    with _opened(url, open_to_look) as engine, explained(path), for_reading(engine).connect() as connection:
        return _state(connection)


def describe(state: SchemaState) -> str:
    """Say in a sentence where a database stands and what to do."""
    upgrade_it = "Run `persona-chat db upgrade`, or start the bot, which does it too."
    return {
        "up to date": f"The database is up to date ({state.head}).",
        "empty": f"There is no database yet. {upgrade_it}",
        "behind": f"The database is at {state.current}, this version needs {state.head}. {upgrade_it}",
        "newer": f"The database is at {state.current}, which this version ({state.head}) does not know: "
        "a newer one made it. Install that version again.",
    }[state.standing]


def upgrade(url: str) -> Upgrade:
    """Bring the database up to date, all or nothing; an SQLite file that is behind is backed up first.

    One that is up to date is left alone, and no byte changes of one that is refused. Killed at any moment, it can
    simply be repeated; started twice at once, the second waits and finds nothing to do. Raises DatabaseTooNew,
    DatabaseUnusable, DataFolderUnusable and SettingsError.
    """
    path = sqlite_file(parse_url(url))
    if path is not None and path.is_file():
        check(url)  # a file of something else's would be turned to WAL where it is opened to be written
    with _opened(url) as engine, explained(path):
        with for_reading(engine).connect() as connection:
            state = _upgradable(connection)
            if path is not None:
                _check_pages(connection, path)
        if state.standing == "up to date":
            return Upgrade(state.current, state.head, None)
        with _locked(engine) as connection:
            # Somebody may have upgraded while we waited for the lock.
            state = _upgradable(connection)
            backup = None
            if path is not None and state.current is not None and state.standing == "behind":
                backup = back_up(path, state.current)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        return Upgrade(state.current, state.head, backup)


def migrations_folder() -> Path:
    """Return the folder of the migrations: a package beside ours, in a checkout as in an installation."""
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package `migrations` is missing from this installation")
    return Path(spec.origin).parent


@contextmanager
def _opened(url: str, how: Callable[[str], Engine] = open_database) -> Iterator[Engine]:
    engine = how(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """One transaction for a whole upgrade, that nobody else can be in.

    Foreign keys are off in it: with them on, Alembic's way of altering a table on SQLite (copy, drop, rename)
    deletes the rows that point at it. They are checked before it commits.
    """
    with engine.connect() as connection:
        on_sqlite = engine.dialect.name == "sqlite"
        if on_sqlite:
            # Past SQLAlchemy, which would begin a transaction, where this pragma does nothing.
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        with connection.begin():
            if not on_sqlite:
                # A table of years may take its time to be altered.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            yield connection
            if on_sqlite:
                _check_foreign_keys(connection)


def _check_foreign_keys(connection: Connection) -> None:
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if orphans:
        tables = ", ".join(sorted({row[0] for row in orphans}))
        raise DatabaseUnusable(ORPHANS.format(count=len(orphans), tables=tables))


def _check_pages(connection: Connection, path: Path) -> None:
    """Raise DatabaseUnusable where SQLite's file has a damaged page, wherever it is. 92 MB take 0.3 s."""
    if connection.exec_driver_sql("PRAGMA quick_check(1)").scalar() != "ok":
        raise DatabaseUnusable(SPOILED.format(path=path, backups=backups_of(path)))


def _upgradable(connection: Connection) -> SchemaState:
    state = _state(connection)
    if state.standing == "newer":
        raise DatabaseTooNew(TOO_NEW.format(current=state.current, head=state.head))
    return state


def _state(connection: Connection) -> SchemaState:
    scripts = _scripts()
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None and set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
        raise DatabaseUnusable(NOT_OURS)
    known = current is None or current in {script.revision for script in scripts.walk_revisions()}
    return SchemaState(current, _head(scripts), known)


def _head(scripts: ScriptDirectory) -> str:
    head = scripts.get_current_head()
    if head is None:
        raise RuntimeError("the package `migrations` holds no revision")
    return head


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    # Otherwise Alembic tells the bot's log how it works, at every start.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    # Config is an ini file underneath, where a lone % means something.
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

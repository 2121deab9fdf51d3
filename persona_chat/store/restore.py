"""Puts a backup in an SQLite database's place, without what people had deleted since it was made."""

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from persona_chat.errors import DatabaseTooNew, DatabaseUnusable, InputError
from persona_chat.store import backup, ledger, schema
from persona_chat.store.database import backups_of, default_url, explained, open_database
from persona_chat.store.keys import NO_KEYS, Keys
from persona_chat.store.redo import redo
from persona_chat.store.store import Store

TOO_OLD = (
    "{source} is of {made_at:%Y-%m-%d}, and what people had deleted before {since:%Y-%m-%d} is not noted any more: it "
    "would be back. Nothing was changed. `--even-so` restores it all the same."
)


@dataclass(frozen=True)
class Restored:
    """What a restore did. `replaced` is the database that was there before, `deletions` how many were done again."""

    replaced: Path | None
    deletions: int
    all_of_them: bool
    """Whether the backup does not say when it was made, so that every deletion that is noted was done."""


def restore(database: Path, source: Path, keys: Keys = NO_KEYS, *, even_so: bool = False) -> Restored:
    """Put the backup `source` in the database's place. Nobody may use the folder meanwhile.

    It is made ready in a folder of its own (copied, checked, brought up to date, deletions done again) and then takes
    the name at once: killed at any moment, the database is the old one or the new one. Raises InputError,
    DatabaseUnusable, DatabaseTooNew, and KeyMissing where a deletion has to read what is encrypted, and has then
    changed nothing. InputError is also for a backup from before what is still noted of deletions, unless `even_so`.
    """
    _check(source)
    noted, made_at = ledger.Ledger(ledger.beside(database)), backup.made_at(database, source)
    since = noted.whole_since()
    if made_at is not None and since is not None and made_at < since and not even_so:
        raise InputError(TOO_OLD.format(source=source, made_at=made_at, since=since))
    folder = database.parent / "restoring"
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        ready = folder / database.name
        os.close(os.open(ready, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with explained(source):
            backup.copy(source, ready)
        count = _bring_up_to_date(ready, noted, made_at, keys)
        replaced = _put(ready, database)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Restored(replaced, count, made_at is None)


def _check(source: Path) -> None:
    if not source.is_file():
        raise InputError(f"{source}: there is no such file.")
    with explained(source):
        faults = backup.faults_of(source)
    if faults:
        raise DatabaseUnusable(f"{source} is damaged and was not restored: {faults[0]} Choose another backup.")
    state = schema.check(f"sqlite:///{source.absolute()}")
    if state.standing == "empty":
        raise DatabaseUnusable(f"{source} holds no database of ours. Nothing was changed.")
    if state.standing == "newer":
        raise DatabaseTooNew(schema.TOO_NEW.format(current=state.current, head=state.head))


def _bring_up_to_date(ready: Path, noted: ledger.Ledger, made_at: datetime | None, keys: Keys) -> int:
    url = default_url(ready.parent, ready.name)
    schema.upgrade(url)
    store = Store(open_database(url, keys))
    try:
        count = redo(store, noted.deletions(made_at))
    finally:
        store.close()
    with explained(ready):
        _empty_log(ready)
    backup.sync(ready)
    return count


def _put(ready: Path, database: Path) -> Path | None:
    """Let the new file take the database's name, and keep the old one as a backup that says so."""
    kept = None
    if database.exists():
        folder = backups_of(database)
        folder.mkdir(mode=0o700, exist_ok=True)
        kept = folder / f"{database.stem}-replaced-{datetime.now(UTC).strftime(backup.STAMP)}.sqlite3"
        with suppress(sqlite3.Error):  # damaged: its log is kept beside it
            _empty_log(database)
        # A log that stays behind would be read into the new file.
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{database}{suffix}").replace(f"{kept}{suffix}")
        kept.unlink(missing_ok=True)
        kept.hardlink_to(database)
        backup.sync(folder)
    ready.replace(database)
    backup.sync(database.parent)
    return kept


def _empty_log(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

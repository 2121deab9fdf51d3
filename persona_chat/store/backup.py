"""Copies an SQLite database whole, while it is in use, and checks the copy. Copying the file itself is no backup."""

import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from persona_chat.errors import DatabaseUnusable, DataFolderUnusable
from persona_chat.store.database import alone_in, backups_of, explained

STAMP = "%Y%m%dT%H%M%SZ"
"""When a backup was made, as its name says it."""


def made_of(source: Path) -> dict[Path, datetime]:
    """Return the backups of this database that `back_up` made, and when."""
    found = {path: made_at(source, path) for path in backups_of(source).glob("*.sqlite3")}
    return {path: moment for path, moment in found.items() if moment is not None}


def made_at(source: Path, copied: Path) -> datetime | None:
    """Return when a backup of this database was begun, wherever it lies by now; None when its name does not say so."""
    match = re.fullmatch(rf"{re.escape(source.stem)}-\w+-(\d{{8}}T\d{{6}}Z)\.sqlite3", copied.name)
    return match and datetime.strptime(match[1], STAMP).replace(tzinfo=UTC)


def back_up(source: Path, revision: str) -> Path:
    """Copy the database into `backups/` beside it and return the copy's path.

    The file has its final name only when all of it is on the disk and passed SQLite's checks; what an earlier one that
    was killed left is removed. Raises DatabaseUnusable when the database is damaged, DataFolderUnusable when the copy
    cannot be written.
    """
    folder = backups_of(source)
    stamp = datetime.now(UTC).strftime(STAMP)
    final = folder / f"{source.stem}-{revision}-{stamp}.sqlite3"
    partial = final.with_name(f"{final.name}.tmp")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with alone_in(folder):  # what is half made is nobody's
            _remove_partial(source)
            try:
                os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
                with explained(source):
                    copy(source, partial)
                sync(partial)
                partial.rename(final)
                sync(folder)
            finally:
                _remove_partial(source)
    except OSError as error:
        raise DataFolderUnusable(
            f"The backup cannot be written to {folder} ({error.strerror}). Nothing was changed; make room or make "
            "the folder writable, and try again."
        ) from None
    return final


def rotate(source: Path, keep: int) -> int:
    """Delete all but the newest `keep` backups of this database; return how many that were."""
    made = made_of(source)
    old = sorted(made, key=lambda path: made[path], reverse=True)[keep:]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use over an empty file. Raises DatabaseUnusable when it is damaged."""
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copied:
        original.backup(copied)
    if faults := faults_of(target):
        raise DatabaseUnusable(
            f"{source} is damaged: {faults[0]} Nothing was changed; `persona-chat db restore` puts a backup in its "
            "place."
        )


def faults_of(path: Path) -> tuple[str, ...]:
    """Return what SQLite finds wrong with a file, in sentences; raises sqlite3.Error where it cannot even look."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        found = []
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            found.append("SQLite's integrity check fails.")
        if orphans := {row[0] for row in connection.execute("PRAGMA foreign_key_check")}:
            found.append(f"Rows point at rows that are not there, in {', '.join(sorted(orphans))}.")
        return tuple(found)


def _remove_partial(source: Path) -> None:
    for path in backups_of(source).glob(f"{source.stem}-*.sqlite3.tmp*"):
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """See that a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Copies an SQLite database whole, while it is in use, and checks the copy. Copying the file itself is no backup."""

import os
import re
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from persona_chat.errors import DatabaseUnusable, DataFolderUnusable
from persona_chat.store.database import backups_of, explained

STAMP = "%Y%m%dT%H%M%SZ"
"""When a backup was made, as its name says it."""


def made_of(source: Path) -> dict[Path, datetime]:
    """Return the backups of this database that `back_up` made, and when."""
    named = re.compile(rf"{re.escape(source.stem)}-\w+-(\d{{8}}T\d{{6}}Z)\.sqlite3")
    found = {path: named.fullmatch(path.name) for path in backups_of(source).glob("*.sqlite3")}
    return {path: datetime.strptime(match[1], STAMP).replace(tzinfo=UTC) for path, match in found.items() if match}


def back_up(source: Path, revision: str) -> Path:
    """Copy the database into `backups/` beside it and return the copy's path.

    The file has its final name only when all of it is on the disk and passed SQLite's integrity check.
    Raises DatabaseUnusable when the database is damaged, DataFolderUnusable when the copy cannot be written.
    """
    folder = backups_of(source)
    stamp = datetime.now(UTC).strftime(STAMP)
    final = folder / f"{source.stem}-{revision}-{stamp}.sqlite3"
    partial = final.with_name(f"{final.name}.tmp")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        with explained(source):
            _copy(source, partial)
        sync(partial)
        partial.rename(final)
        sync(folder)
    except OSError as error:
        raise DataFolderUnusable(
            f"The backup before the upgrade cannot be written to {folder} ({error.strerror}). Nothing was "
            "changed; make room or make the folder writable, and try again."
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return final


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
        original.backup(copy)
    with closing(sqlite3.connect(target)) as copy:
        found = copy.execute("PRAGMA integrity_check").fetchone()
        if found != ("ok",):
            raise DatabaseUnusable(
                f"{source} is damaged: SQLite's integrity check fails. Nothing was changed; put the newest file "
                f"of {target.parent} in its place."
            )


def sync(path: Path) -> None:
    """See that a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""A program that kills upgrades of an SQLite file before one statement after the other, and repeats each.

    python -m tests.killed_upgrades FILE FOLDER FIRST STRIDE

Each is done on a copy of FILE in FOLDER, in a process of its own: `fork` spares it the time to start. A line of JSON
says of each what was there after the kill and after the repetition; the last one is of an upgrade that nobody killed.
"""

import json
import os
import shutil
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, event

from persona_chat.store.database import DATABASE, default_url
from persona_chat.store.schema import upgrade


def main(file: Path, folder: Path, first: int, stride: int) -> None:
    number, killed = first, True
    while killed:
        here = folder / str(number)
        here.mkdir()
        if file.exists():
            shutil.copy(file, here / DATABASE)
        killed = _killed(here, number)
        after_kill = held(here / DATABASE)
        upgrade(default_url(here))
        print(json.dumps({"killed": killed, "after_kill": after_kill, "at_last": held(here / DATABASE)}), flush=True)
        shutil.rmtree(here)
        number += stride


def _killed(here: Path, number: int) -> bool:
    """Upgrade in another process, that kills itself before its statement of this number; whether it came to that."""
    child = os.fork()
    if child == 0:
        statements = 0

        def count(*_given: object) -> None:
            nonlocal statements
            statements += 1
            if statements == number:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", count)
        event.listen(Engine, "commit", count)
        upgrade(default_url(here))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("an upgrade that was not killed failed")
    return False


def held(file: Path) -> dict[str, object]:
    """The revision, the count of each table's rows, and what SQLite finds wrong."""
    with closing(sqlite3.connect(file)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            "revision": connection.execute("SELECT * FROM alembic_version").fetchone()
            if "alembic_version" in tables
            else None,
            "rows": {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables},
            "wrong": connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]
            or connection.execute("PRAGMA foreign_key_check").fetchall() != [],
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

"""A program that kills upgrades of a database before one statement after the other, and repeats each.

    python -m tests.killed_upgrades URL FOLDER FIRST STRIDE

Each is done on a copy of the database (of an SQLite file in FOLDER), in a process of its own: `fork` spares it the time
to start. A line of JSON says of each what was there after the kill and after the repetition; the last one is of an
upgrade that nobody killed.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, inspect, make_url

from persona_chat.store.database import DATABASE, default_url, sqlite_file
from persona_chat.store.schema import upgrade


def main(source: str, folder: Path, first: int, stride: int) -> None:
    number, killed = first, True
    while killed:
        with copied(source, folder, number) as url:
            killed = _killed(url, number)
            after_kill = held(url)
            upgrade(url)
            print(json.dumps({"killed": killed, "after_kill": after_kill, "at_last": held(url)}), flush=True)
        number += stride


@contextmanager
def copied(source: str, folder: Path, number: int) -> Iterator[str]:
    """Have a copy of a database inside the block; of an SQLite file that is not there, a place for one."""
    file = sqlite_file(make_url(source))
    if file is not None:
        here = folder / str(number)
        here.mkdir()
        if file.exists():
            shutil.copy(file, here / DATABASE)
        yield default_url(here)
        shutil.rmtree(here)
        return
    url = make_url(source)
    copy = f"{url.database}_{number}"
    admin = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {copy} TEMPLATE {url.database}")
    yield url.set(database=copy).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {copy} WITH (FORCE)")
    admin.dispose()


def _killed(url: str, number: int) -> bool:
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
        upgrade(url)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("an upgrade that was not killed failed")
    return False


def held(url: str) -> dict[str, object]:
    """The revision, the count of each table's rows, and whether SQLite finds something wrong."""
    engine = create_engine(url)
    with engine.connect() as connection:

        def rows(sql: str) -> list[tuple[object, ...]]:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

        tables = inspect(connection).get_table_names()
        found = {
            "revision": rows("SELECT * FROM alembic_version")[0] if "alembic_version" in tables else None,
            "rows": {name: rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in tables},
            "wrong": engine.dialect.name == "sqlite"
            and (rows("PRAGMA integrity_check") != [("ok",)] or rows("PRAGMA foreign_key_check") != []),
        }
    engine.dispose()
    return found


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

"""Backups, restores and deletions by real processes that are killed in the middle: whole or absent, old or new."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from persona_chat.settings import Settings
from persona_chat.store import backup
from persona_chat.store.database import DATABASE
from persona_chat.store.redo import finish_deletions
from persona_chat.store.restore import restore
from persona_chat.store.store import Store
from tests.people import CANARY, GUS, OLIVE, rows, say, seat_vera
from tests.torture import count, record

KILLS = count(2, 10)

# Killed before the n-th line of the store that it runs.
VICTIM = """
import sys
from pathlib import Path
from persona_chat.store import backup, people
from persona_chat.store.database import default_url, open_database
from persona_chat.store.restore import restore
from persona_chat.store.store import Store
from tests.fatal_line import FatalLine

what, database, kill_at, copy = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])

def forget():
    store = Store(open_database(default_url(database.parent)))
    with store.ledger.noted("forgotten", (int(sys.argv[5]),)):
        store.people.forget(int(sys.argv[5]))

with FatalLine(Path(backup.__file__).parent, kill_at) as line:
    if what == "backup":
        backup.back_up(database, "0000")
    elif what == "restore":
        restore(database, copy)
    else:
        forget()
print(line.ran)
"""


def act(what: str, database: Path, kill_at: int, copy: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", VICTIM, what, database, kill_at, copy, GUS]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def places(what: str, database: Path, copy: Path) -> list[int]:
    """Places to be killed at, from one that is not killed and counts its lines."""
    done = act(what, database, 10**9, copy)
    assert done.returncode == 0, done.stderr
    return sorted(random.Random(what).sample(range(2, int(done.stdout)), KILLS))


def sound(path: Path) -> bool:
    return backup.faults_of(path) == ()


@pytest.fixture
def file(store: Store, settings: Settings) -> Path:
    revision = seat_vera(store)
    for number in range(1, 41):
        say(store, number, GUS if number % 2 else OLIVE, f"{CANARY} {number}", revision)
    return settings.data_dir / DATABASE


def test_a_killed_backup_is_complete_or_absent(file: Path) -> None:
    for place in places("backup", file, file):
        assert act("backup", file, place, file).returncode == -9
        assert all(sound(path) and f"{CANARY} 40" in rows(path) for path in backup.made_of(file))
        backup.back_up(file, "0000")
        assert list(file.parent.glob("backups/*.tmp*")) == [], "the next one clears away what was left"
    record("B6 backup", kills=KILLS, half_made=0)


def test_a_killed_restore_leaves_the_old_database_or_the_new_one(store: Store, file: Path) -> None:
    copy = backup.back_up(file, "0000")
    new = 0
    for place in places("restore", file, copy):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE messages SET text = 'since' WHERE message_id = 1")
        assert act("restore", file, place, copy).returncode == -9
        assert sound(file)
        assert f"{CANARY} 40" in rows(file)
        new += "'since'" not in rows(file)
        restore(file, copy)
        assert sound(file)
        assert "'since'" not in rows(file)
        assert not (file.parent / "restoring").exists()
    record("B6 restore", kills=KILLS, old=KILLS - new, new=new, damaged=0)


def test_a_killed_deletion_is_finished_or_was_never_begun(store: Store, file: Path) -> None:
    copy = backup.back_up(file, "0000")
    begun = 0
    for place in places("forget", file, copy):
        store.close()
        assert store.ledger.path is not None
        store.ledger.path.unlink(missing_ok=True)
        restore(file, copy)
        assert act("forget", file, place, copy).returncode == -9
        noted = store.ledger.cut_off()
        begun += len(noted)
        finish_deletions(store)
        assert (f"{CANARY} 1'" in rows(file)) == (not noted and not store.ledger.deletions())
        assert f"{CANARY} 2'" in rows(file)
    record("B6 forgetting", kills=KILLS, begun=begun, unfinished=0)

"""Deletions on PostgreSQL by processes that are killed in the middle: finished later, or done by the next try."""

import random
import subprocess
import sys
from collections.abc import Iterator

import pytest

from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store.database import open_database
from persona_chat.store.redo import finish_deletions, redo
from persona_chat.store.store import Store
from tests.people import CANARY, GUS, OLIVE, SERVER, rows, say, seat_vera
from tests.postgres import Postgres
from tests.torture import count, record

KILLS = count(2, 10)

# Killed before the n-th line of the store that it runs.
VICTIM = """
import sys
from pathlib import Path
from persona_chat.store import people
from persona_chat.store.database import open_database
from persona_chat.store.redo import redo
from persona_chat.store.store import Store
from tests.fatal_line import FatalLine

what, url, data_dir, kill_at, person_id = sys.argv[1:]
store = Store(open_database(url), Path(data_dir))
with FatalLine(Path(people.__file__).parent, int(kill_at)) as line:
    if what == "forget":
        with store.ledger.noted("forgotten", (int(person_id),)):
            store.people.forget(int(person_id))
    else:
        redo(store, store.ledger.deletions())
print(line.ran)
"""


class Copies:
    """Databases in which two people talked, each a new one, with the notes of deletions beside them."""

    def __init__(self, postgres: Postgres, talked: str, settings: Settings) -> None:
        self._postgres, self._talked, self._data_dir = postgres, talked, settings.data_dir
        self._names: list[str] = []
        self.store: Store

    def new(self) -> Store:
        """Close the one before, and open another."""
        self.close()
        self._names.append(self._postgres.new_database(self._talked))
        self.url = self._postgres.url(self._names[-1])
        self.store = Store(open_database(self.url), self._data_dir)
        return self.store

    def act(self, what: str, kill_at: int = 10**9) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", VICTIM, what, self.url, self._data_dir, kill_at, GUS]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)

    def places(self, what: str) -> list[int]:
        """Places to be killed at, from one that is not killed and counts its lines."""
        done = self.act(what)
        assert done.returncode == 0, done.stderr
        return sorted(random.Random(what).sample(range(2, int(done.stdout)), KILLS))

    def close(self) -> None:
        if self._names:
            self.store.close()
            self._postgres.drop(self._names.pop())


@pytest.fixture
def copies(postgres: Postgres, settings: Settings) -> Iterator[Copies]:
    settings.data_dir.mkdir()
    talked = postgres.with_all_tables()
    store = Store(open_database(postgres.url(talked)))
    revision = seat_vera(store)
    for number in range(1, 41):
        say(store, number, GUS if number % 2 else OLIVE, f"{CANARY} {number}", revision)
    store.library.create(Spot(Scope.SERVER, SERVER), Persona("Nemo", "A captain."), OLIVE)
    store.close()
    made = Copies(postgres, talked, settings)
    yield made
    made.close()
    postgres.drop(talked)


def test_a_killed_deletion_is_finished_or_was_never_begun(copies: Copies) -> None:
    begun = 0
    copies.new()
    for place in copies.places("forget"):
        store = copies.new()
        assert store.ledger.path is not None
        store.ledger.path.unlink(missing_ok=True)
        assert copies.act("forget", place).returncode == -9
        noted = store.ledger.cut_off()
        begun += len(noted)
        finish_deletions(store)
        assert (f"{CANARY} 1'" in rows(copies.url)) == (not noted and not store.ledger.deletions())
        assert f"{CANARY} 2'" in rows(copies.url)
    record("B6 forgetting", database="postgresql", kills=KILLS, begun=begun, unfinished=0)


def test_deletions_that_are_done_again_and_killed_are_done_by_the_next_try(copies: Copies) -> None:
    store = copies.new()
    nemo = store.library.named(Spot(Scope.SERVER, SERVER), "Nemo")
    assert nemo is not None
    with store.ledger.noted("forgotten", (GUS,)), store.ledger.noted("deleted", (2, 4)):
        pass
    with store.ledger.noted("opted out", (OLIVE,)), store.ledger.noted("persona deleted", (nemo.id,)):
        pass
    for place in copies.places("redo"):
        store = copies.new()
        assert copies.act("redo", place).returncode == -9
        assert redo(store, store.ledger.deletions()) == 4
        left = rows(copies.url)
        assert all((f"{CANARY} {number}'" in left) == (number % 2 == 0 and number > 4) for number in range(1, 41))
        assert store.people.opted_out() == {OLIVE}
        assert store.library.get(nemo.id) is None
    record("B6 forgetting again", database="postgresql", kills=KILLS, undone=0)

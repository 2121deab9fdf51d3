"""What becomes of a database when its process is killed, its disk is full, or another program locks it."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store.database import DATABASE, default_url
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.committing import CHANNEL, PERSON, PLACE, SERVER
from tests.postgres import kind_of, on_sqlite, rows_of
from tests.torture import count, record

KILLS = count(5, 100)
LOCKS = count(1, 3)


def wrong(url: str) -> list[object]:
    """What SQLite finds wrong, and rows that are only half there."""
    half = (
        "SELECT id FROM messages WHERE (state = 'answered') <> EXISTS "
        "(SELECT * FROM replies WHERE replies.message_id = messages.id)"
    )
    if not on_sqlite(url):
        return list(rows_of(url, half))
    faults = [row for row in rows_of(url, "PRAGMA integrity_check") if row != ("ok",)]
    return [*faults, *rows_of(url, "PRAGMA foreign_key_check"), *rows_of(url, half)]


@pytest.mark.both_databases
def test_nothing_that_was_said_to_be_kept_is_lost_by_a_kill(database_url: str) -> None:
    url, begun = database_url, 1
    kept: list[int] = []
    upgrade(url)
    chance = random.Random(6)
    for _ in range(KILLS):
        command = [sys.executable, "-m", "tests.committing", url, str(begun)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _line in range(chance.randrange(1, 300)):
                kept.append(int(process.stdout.readline()))
            process.kill()  # in the middle of whatever it does now
            kept += [int(line) for line in process.stdout.read().split("\n")[:-1]]
        begun = kept[-1] + 10  # it may have begun some more
        assert wrong(url) == []
    answered = rows_of(
        url,
        "SELECT messages.message_id FROM messages JOIN replies ON replies.message_id = messages.id "
        "JOIN sent_parts ON sent_parts.reply_id = replies.id "
        "WHERE replies.text = 'answer ' || messages.message_id "
        "AND messages.text = 'question ' || messages.message_id",
    )
    found = {message_id for (message_id,) in answered}
    assert set(kept) <= found
    assert len(found) - len(kept) <= KILLS  # kept, and killed before it could say so
    record(
        "B2",
        database=kind_of(url),
        kills=KILLS,
        kept=len(kept),
        lost=len(set(kept) - found),
        corrupt=0,
    )


@pytest.fixture
def talking(settings: Settings, store: Store) -> Store:
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.SERVER, SERVER), Persona("Vera", "A keeper."))
    return store


def answer(store: Store, message_id: int, text: str = "Hello") -> None:
    seated = store.seating.seated(PLACE)
    assert seated is not None
    assert store.claim(Heard(message_id, PLACE, "Gus", text))
    store.save_reply(message_id, seated.revision_id, "Hi")


def answer_many(store: Store) -> None:
    for number in range(100):
        answer(store, 10 + number, "x" * 2000)


def test_a_full_disk_is_read_from_and_written_to_again_when_there_is_room(talking: Store, settings: Settings) -> None:
    answer(talking, 1)
    with talking._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(most: int) -> None:
        for connection in pool(talking):
            connection.execute(f"PRAGMA max_page_count={most}").close()

    limit(pages)
    with pytest.raises(OperationalError, match="full"):
        answer_many(talking)
    assert [turn.text for turn in talking.talk(PLACE, 10)[1]][:2] == ["Hello", "Hi"]
    held = talking.people.held(PERSON)
    assert wrong(default_url(settings.data_dir)) == []
    limit(2**30)
    answer(talking, 1000)
    assert talking.people.held(PERSON).replies == held.replies + 1
    record("C1", database="sqlite", kept_while_full=held.messages, lost=0)


def pool(store: Store) -> Iterator[sqlite3.Connection]:
    """The store's own connections: the limit is each one's."""
    with store._engine.connect() as connection:
        connection.rollback()
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        yield raw


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program holds the database for itself."""
    script = (
        "import sqlite3, sys; held = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "held.execute('PRAGMA journal_mode'); held.execute('BEGIN IMMEDIATE'); "
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


def test_a_database_that_is_locked_claims_nothing_and_goes_on_when_it_is_free(
    talking: Store, settings: Settings
) -> None:
    for number in range(1, LOCKS + 1):
        with locked(settings.data_dir / DATABASE):
            with pytest.raises(OperationalError, match="locked"):
                answer(talking, number)
            assert len(talking.talk(PLACE, 10)[1]) == 2 * (number - 1)  # reading goes on
        answer(talking, number)  # so nothing had claimed it
    assert wrong(default_url(settings.data_dir)) == []
    record("C2", database="sqlite", locks=LOCKS, lost=0)

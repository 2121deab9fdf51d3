"""Opening the database: how connections are set up, and what is said when it cannot be used."""

import contextlib
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError

from persona_chat.errors import DatabaseUnusable, DataFolderUnusable, SettingsError
from persona_chat.store import database
from persona_chat.store.database import default_url, for_reading, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.tables import Personas, Replies, Services

CANARY = "the canary sings at dawn"


@pytest.fixture
def engine(tmp_path):
    upgrade(default_url(tmp_path))
    engine = open_database(default_url(tmp_path))
    yield engine
    engine.dispose()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_connection_is_set_up(engine):
    wanted = {
        "busy_timeout": 5000,
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
    }
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(for_reading(engine).connect()) for _ in range(4)]
        for connection in connections:
            found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
            assert found == wanted
    assert set(wanted) == set(database.PRAGMAS)


def test_only_the_owner_may_read_the_files(tmp_path):
    url = default_url(tmp_path / "data")
    upgrade(url)
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(insert(Services).values(id=1, why="test", since=datetime.now(UTC)))
    assert mode(tmp_path / "data") == 0o700
    assert {mode(path) for path in (tmp_path / "data").glob("*.sqlite3*")} == {0o600}
    assert len(list((tmp_path / "data").glob("*.sqlite3*"))) == 3, "the file, -wal and -shm"
    engine.dispose()


def test_a_data_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "ä 100%?#@:&= b"
    upgrade(default_url(folder, "demo.sqlite3"))
    assert [path.name for path in folder.iterdir()] == ["demo.sqlite3"]


def test_foreign_keys_are_enforced(engine):
    reply = insert(Replies).values(message_id=1, revision_id=1, number=1, text=CANARY, created_at=datetime.now(UTC))
    with pytest.raises(IntegrityError, match="FOREIGN KEY") as caught, engine.begin() as connection:
        connection.execute(reply)
    assert CANARY not in str(caught.value)


def test_a_transaction_takes_the_write_lock_when_it_begins(engine, monkeypatch):
    monkeypatch.setitem(database.PRAGMAS, "busy_timeout", "20")
    with engine.begin() as first:
        first.exec_driver_sql("SELECT 1")
        with pytest.raises(OperationalError, match="locked"), engine.connect() as second:
            second.exec_driver_sql("SELECT 1")


def test_a_writer_keeps_no_reader_waiting(engine):
    with engine.begin() as writer:
        writer.execute(insert(Services).values(id=1, why="test", since=datetime.now(UTC)))
        with for_reading(engine).begin() as reader:
            assert reader.execute(select(Services.id)).all() == []


def test_a_write_that_fails_leaves_nothing_behind(engine):
    half = insert(Services).values(id=1, why="test", since=datetime.now(UTC))
    with contextlib.suppress(RuntimeError), engine.begin() as connection:
        connection.execute(half)
        raise RuntimeError
    with for_reading(engine).begin() as connection:
        assert connection.execute(select(Services.id)).all() == []


def test_times_are_utc_whatever_timezone_they_came_in(engine):
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    in_berlin = noon.astimezone(timezone(timedelta(hours=1)))
    with engine.begin() as connection:
        connection.execute(insert(Services).values(id=1, why="test", since=in_berlin))
        read = connection.scalar(select(Services.since))
    assert read == noon
    assert read.tzinfo is UTC


def test_a_time_without_a_timezone_is_refused(engine):
    naive = datetime(2026, 11, 24, 12)
    with pytest.raises(StatementError, match="without a timezone"), engine.begin() as connection:
        connection.execute(insert(Services).values(id=1, why="test", since=naive))


def test_no_value_is_in_an_error_or_in_the_log(engine, caplog):
    caplog.set_level("INFO", "sqlalchemy.engine")
    persona = insert(Personas).values(id=1, home="me", home_id=1, key=CANARY, current=1, created_at=datetime.now(UTC))
    with engine.begin() as connection:
        connection.execute(persona)
    with pytest.raises(IntegrityError) as caught, engine.begin() as connection:
        connection.execute(persona)
    assert "INSERT INTO personas" in caplog.text
    for text in (str(caught.value), repr(caught.value), caplog.text):
        assert CANARY not in text


def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path):
    file = tmp_path / database.DATABASE
    file.write_bytes(b"Dear diary, today it rained. " * 300)
    before = file.read_bytes()
    with pytest.raises(DatabaseUnusable, match="damaged") as caught:
        open_database(default_url(tmp_path))
    assert str(file) in str(caught.value)
    assert file.read_bytes() == before


def test_a_folder_where_the_file_should_be_is_named(tmp_path):
    (tmp_path / database.DATABASE).mkdir()
    with pytest.raises(DatabaseUnusable, match="is a folder"):
        open_database(default_url(tmp_path))


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataFolderUnusable, match="PERSONA_CHAT_DATA_DIR") as caught:
        open_database(default_url(tmp_path / "file" / "data"))
    assert str(tmp_path / "file" / "data") in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_that_is_read_only_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderUnusable, match="writable"):
        open_database(default_url(tmp_path))


def test_a_database_that_another_program_keeps_for_itself_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(database.PRAGMAS, "busy_timeout", "20")
    with closing(sqlite3.connect(tmp_path / database.DATABASE, isolation_level=None)) as other:
        other.execute("CREATE TABLE notes (text)")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseUnusable, match="locked by another program"):
            open_database(default_url(tmp_path))


@pytest.mark.parametrize(
    "url",
    ["", "data.sqlite3", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true", "mysql://a:secret@b/c"],
)
def test_a_url_that_cannot_be_used_is_a_settings_error_that_does_not_show_it(url):
    with pytest.raises(SettingsError, match="PERSONA_CHAT_DATABASE_URL") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_who_opens_a_database_waits_for_others_that_are_opening_one(tmp_path):
    # Without it, of four processes that opened 200 new files, two failed with "locked" on the way.
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(open_database, default_url(tmp_path))
        with pytest.raises(TimeoutError):
            opening.result(timeout=0.3)
        os.close(folder)
        opening.result(timeout=5).dispose()


def test_opening_a_database_again_keeps_the_locks_that_this_process_holds(engine, tmp_path):
    # Whoever closes the last connection removes the -wal file; without our lock another process thinks so.
    come_and_go = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM services'); c.close()"
    )
    file = tmp_path / database.DATABASE
    with engine.begin() as connection:
        connection.execute(insert(Services).values(id=1, why="test", since=datetime.now(UTC)))
    open_database(default_url(tmp_path)).dispose()
    subprocess.run([sys.executable, "-c", come_and_go, file], check=True)
    assert file.with_name(f"{file.name}-wal").exists()

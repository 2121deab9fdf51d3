"""Migrations: they make the tables, lose nothing, back up first, and refuse what a newer version made."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from persona_chat.errors import DatabaseTooNew, DatabaseUnusable, DataFolderUnusable
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store import backup, schema
from persona_chat.store.database import DATABASE, default_url, for_reading, open_database
from persona_chat.store.schema import SchemaState, Upgrade, check, upgrade
from persona_chat.store.store import Store
from persona_chat.store.tables import Base
from tests.postgres import on_sqlite, rows_of

HEAD = "0014"

# The shape of a later revision: it alters a table that others point at, which SQLite does by copying it.
SECOND = f"""
import os, signal
import sqlalchemy as sa
from alembic import op

revision = "next"
down_revision = "{HEAD}"

def upgrade():
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("messages", recreate=recreate) as messages:
        messages.add_column(sa.Column("language", sa.Text(), nullable=True))
    if os.environ.get("DIE_IN_MIGRATION"):
        os.kill(os.getpid(), signal.SIGKILL)
    op.create_table("notes", sa.Column("id", sa.Integer(), primary_key=True))
"""

ORPHANING = f"""
from alembic import op

revision = "next"
down_revision = "{HEAD}"

def upgrade():
    op.execute("DELETE FROM messages")
"""

UPGRADE = """
import sys
from pathlib import Path
from persona_chat.store import schema
schema.migrations_folder = lambda: Path(sys.argv[1])
done = schema.upgrade(sys.argv[2])
print(done.before, done.after, done.backup)
"""


@pytest.fixture
def url(empty_database_url) -> str:
    return empty_database_url


@pytest.fixture
def another_url(url, tmp_path, request) -> Iterator[str]:
    """A second empty database of the same kind."""
    if on_sqlite(url):
        yield default_url(tmp_path / "made")
        return
    server = request.getfixturevalue("postgres")
    name = server.new_database()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "data" / DATABASE


@pytest.fixture
def with_second(tmp_path, monkeypatch):
    """The migrations as they are, and a revision more."""

    def add(source: str = SECOND) -> Path:
        folder = tmp_path / "later" / "migrations"
        shutil.copytree(schema.migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "versions" / "next.py").write_text(source)
        monkeypatch.setattr(schema, "migrations_folder", lambda: folder)
        return folder

    return add


def say_something(url: str) -> None:
    store = Store(open_database(url))
    david = Persona("David", "", ("I have two dogs.",))
    place = Place(1, 2)
    store.seating.put(Spot(Scope.CHANNEL, 1), place.home, david)
    seated = store.seating.seated(place)
    for number in range(20):
        store.claim(Heard(number, place, "Gus", "Hello."))
        store.save_reply(number, seated.revision_id, "Hi.")
    store.close()


def read(file: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def upgrading(folder: Path, url: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UPGRADE, folder, url],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    out, err = process.communicate(timeout=60)
    return out.strip(), err, process.returncode


@pytest.mark.both_databases
def test_migrations_make_exactly_the_tables(url, another_url):
    upgrade(url)
    migrated, made = open_database(url), open_database(another_url)
    Base.metadata.create_all(made)
    with for_reading(migrated).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    for table in Base.metadata.tables:
        for what in ("columns", "pk_constraint", "foreign_keys", "unique_constraints", "check_constraints"):
            found, wanted = (getattr(inspect(engine), f"get_{what}")(table) for engine in (migrated, made))
            if what.endswith("keys") or what.endswith("constraints"):  # whose order says nothing
                found, wanted = sorted(map(str, found)), sorted(map(str, wanted))
            assert str(found) == str(wanted), f"{what} of {table}"
    migrated.dispose()
    made.dispose()


def test_a_new_database_needs_no_backup(url, file):
    assert upgrade(url) == Upgrade(None, HEAD, None)
    assert [path.name for path in file.parent.iterdir()] == [DATABASE]


def test_upgrading_again_changes_nothing(url, file):
    upgrade(url)
    say_something(url)
    before = file.read_bytes()
    assert upgrade(url) == Upgrade(HEAD, HEAD, None)
    assert file.read_bytes() == before


def test_checking_makes_no_file(url, file):
    assert check(url) == SchemaState(None, HEAD)
    assert not file.parent.exists()


@pytest.mark.both_databases
def test_where_a_database_stands_has_a_word(url, with_second, monkeypatch):
    assert check(url).standing == "empty"
    upgrade(url)
    assert check(url).standing == "up to date"
    with monkeypatch.context():
        with_second()
        assert check(url).standing == "behind"
        upgrade(url)
    monkeypatch.undo()
    assert check(url) == SchemaState("next", HEAD, known=False)
    assert check(url).standing == "newer"


def test_a_newer_database_is_refused_and_not_touched(url, file, with_second, monkeypatch):
    upgrade(url)
    with_second()
    upgrade(url)
    say_something(url)
    monkeypatch.undo()
    before = {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()}
    with pytest.raises(DatabaseTooNew, match="revision next"):
        upgrade(url)
    assert {path: path.read_bytes() for path in file.parent.rglob("*") if path.is_file()} == before


def test_a_database_that_is_behind_is_backed_up_and_then_upgraded(url, file, with_second):
    upgrade(url)
    say_something(url)
    with_second()
    done = upgrade(url)
    assert (done.before, done.after) == (HEAD, "next")
    assert done.backup is not None
    assert done.backup.parent == file.parent / "backups"
    assert [path.name for path in done.backup.parent.iterdir()] == [done.backup.name], "nothing half-made"
    assert done.backup.stat().st_mode & 0o777 == 0o600
    assert read(done.backup, "PRAGMA integrity_check") == [("ok",)]
    assert read(done.backup, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert read(done.backup, "SELECT count(*) FROM replies") == [(20,)]
    assert read(file, "SELECT version_num FROM alembic_version") == [("next",)]


def test_a_backup_has_what_is_not_in_the_main_file_yet(url, with_second):
    upgrade(url)
    held = open_database(url)  # Keeps the last commits in the -wal file.
    say_something(url)
    with_second()
    done = upgrade(url)
    held.dispose()
    assert done.backup is not None
    assert read(done.backup, "SELECT count(*) FROM replies") == [(20,)]


@pytest.mark.both_databases
def test_a_table_that_others_point_at_can_be_altered_without_losing_their_rows(url, file, with_second):
    upgrade(url)
    say_something(url)
    with_second()
    upgrade(url)
    assert rows_of(url, "SELECT count(*) FROM replies JOIN messages ON messages.id = replies.message_id") == [(20,)]
    if on_sqlite(url):
        assert read(file, "PRAGMA foreign_key_check") == []


def test_an_upgrade_that_leaves_orphans_is_undone(url, file, with_second):
    upgrade(url)
    say_something(url)
    with_second(ORPHANING)
    with pytest.raises(DatabaseUnusable, match="20 rows"):
        upgrade(url)
    assert read(file, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert read(file, "SELECT count(*) FROM messages") == [(20,)]


@pytest.mark.both_databases
def test_a_killed_upgrade_can_simply_be_repeated(url, file, with_second):
    upgrade(url)
    say_something(url)
    folder = with_second()
    assert outcome(upgrading(folder, url, DIE_IN_MIGRATION="1"))[2] == -signal.SIGKILL
    assert rows_of(url, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert upgrade(url).after == "next"
    assert rows_of(url, "SELECT count(*) FROM replies JOIN messages ON messages.id = replies.message_id") == [(20,)]


@pytest.mark.both_databases
def test_a_killed_first_upgrade_can_simply_be_repeated(url, with_second):
    folder = with_second()
    assert outcome(upgrading(folder, url, DIE_IN_MIGRATION="1"))[2] == -signal.SIGKILL
    assert check(url).standing == "empty"
    assert upgrade(url) == Upgrade(None, "next", None)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.both_databases
def test_of_several_upgrades_at_once_one_does_the_work(url, file, with_second, existing):
    before = "None"
    if existing:
        upgrade(url)
        before = HEAD
    folder = with_second()
    processes = [upgrading(folder, url) for _ in range(4)]
    outcomes = [outcome(process) for process in processes]
    assert [(err, code) for _, err, code in outcomes] == [("", 0)] * 4, "and none says a word"
    assert sum(out.startswith(f"{before} next") for out, _, _ in outcomes) == 1
    if on_sqlite(url):
        assert len(list(file.parent.glob("backups/*"))) == existing
        assert read(file, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.both_databases
def test_an_upgrade_is_silent_in_the_log(url, caplog):
    caplog.set_level("INFO")
    upgrade(url)
    assert caplog.text == ""


def test_a_damaged_database_is_not_upgraded(url, file, with_second):
    upgrade(url)
    say_something(url)
    content = bytearray(file.read_bytes())
    # The last page of rows: the header and the schema still read well.
    content[-4096:] = b"\xff" * 4096
    file.write_bytes(content)
    with_second()
    with pytest.raises(DatabaseUnusable, match="damaged"):
        upgrade(url)
    assert file.read_bytes() == content
    assert list(file.parent.glob("backups/*")) == []


def test_damage_that_only_the_integrity_check_sees_stops_the_upgrade_too(url, file, with_second):
    upgrade(url)
    say_something(url)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        # An index over other values than it holds.
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, '(speaker_id)', '(channel_id)')")
        connection.commit()
    with_second()
    with pytest.raises(DatabaseUnusable, match="integrity check fails"):
        upgrade(url)
    assert list(file.parent.glob("backups/*")) == []
    assert read(file, "SELECT version_num FROM alembic_version") == [(HEAD,)]


def test_without_a_backup_there_is_no_upgrade(url, file, with_second):
    upgrade(url)
    with_second()
    (file.parent / "backups").write_text("a file where the folder should be")
    with pytest.raises(DataFolderUnusable, match="Nothing was changed"):
        upgrade(url)
    assert check(url).standing == "behind"


def test_a_backup_that_fails_leaves_nothing_half_made(url, file, with_second, monkeypatch):
    upgrade(url)
    with_second()

    def no_room(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "sync", no_room)
    with pytest.raises(DataFolderUnusable, match="No space left"):
        upgrade(url)
    assert list((file.parent / "backups").iterdir()) == []


@pytest.mark.both_databases
def test_a_database_of_something_else_is_refused(url, file):
    open_database(url).dispose()
    rows_of(url, "CREATE TABLE recipes (text TEXT)")
    for act in (upgrade, check):
        with pytest.raises(DatabaseUnusable, match="something else"):
            act(url)
    engine = open_database(url)
    assert inspect(engine).get_table_names() == ["recipes"]
    engine.dispose()


def test_the_database_commands_need_no_torch():
    loaded = "import sys, persona_chat.store.schema; print('torch' in sys.modules, 'discord' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_looking_changes_no_byte_of_a_file_that_is_something_elses(url, file):
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
        other.commit()
    before = file.read_bytes()
    with pytest.raises(DatabaseUnusable, match="something else"):
        check(url)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]

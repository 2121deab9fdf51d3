"""Backups of a database in use, and restores that bring back nothing that was deleted: by the real commands."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url

from persona_chat.feedback import Feedback
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store import backup
from persona_chat.store.database import DATABASE, open_database
from persona_chat.store.feedback import Mine, Thumb
from persona_chat.store.redo import redo
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.people import CANARY, CHANNEL, GUS, OLIVE, SERVER, chat_of, files_with, rows, say, seat_vera
from tests.postgres import Postgres, on_sqlite
from tests.test_cli import persona_chat
from tests.test_instance import holding

HOME = Spot(Scope.SERVER, SERVER)


def db(settings: Settings, *command: object, code: int = 0) -> str:
    done = persona_chat("db", *command, "--data-dir", settings.data_dir)
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).decode()


def backed_up(settings: Settings) -> Path:
    return Path(db(settings, "backup").splitlines()[0])


async def test_what_was_deleted_after_the_backup_is_in_no_file_after_the_restore(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    revision = seat_vera(store)
    say(store, 1, GUS, f"{CANARY} of Gus", revision)
    say(store, 2, OLIVE, f"{CANARY} taken back", revision)
    say(store, 3, OLIVE, "stays", revision)
    made = backed_up(settings)
    elsewhere = tmp_path / made.name  # the backup itself holds the words, as long as it is kept
    made.rename(elsewhere)
    _, privacy = chat_of(store, settings)
    await privacy.forget(GUS)
    await privacy.opt_out(GUS)
    with store.ledger.noted("deleted", (2,)):
        store.answers.delete([2])
    say(store, 4, OLIVE, "said after the backup", revision)
    store.close()
    said = db(settings, "restore", elsewhere)
    assert "3 deletions were done again" in said
    assert files_with(settings.data_dir, CANARY) == []
    assert "stays" in rows(settings.data_dir / DATABASE)
    assert store.people.opted_out() == {GUS}
    replaced = Path(said.split("What was there before: ")[1].strip())
    assert "said after the backup" in rows(replaced)
    assert "said after the backup" not in rows(settings.data_dir / DATABASE)
    db(settings, "check")


async def test_on_a_server_what_was_deleted_after_the_backup_is_deleted_again(
    postgres: Postgres, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.with_all_tables()
    url = postgres.url(name)
    monkeypatch.setenv("PERSONA_CHAT_DATABASE_URL", url)
    settings.data_dir.mkdir()
    store = Store(open_database(url), settings.data_dir)
    revision = seat_vera(store)
    say(store, 1, GUS, f"{CANARY} of Gus", revision)
    say(store, 2, OLIVE, f"{CANARY} taken back", revision)
    say(store, 3, OLIVE, "stays", revision)
    assert "pg_dump --format=custom" in db(settings, "backup", code=2)
    dump = tmp_path / "dump"
    postgres.call("pg_dump", "--format=custom", f"--file={dump}", name)
    _, privacy = chat_of(store, settings)
    await privacy.forget(GUS)
    await privacy.opt_out(GUS)
    with store.ledger.noted("deleted", (2,)):
        store.answers.delete([2])
    store.close()
    assert CANARY not in rows(url)
    postgres.call("pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={name}", str(dump))
    assert CANARY in rows(url)
    assert "3 deletions were done again" in db(settings, "forget-again")
    assert CANARY not in rows(url)
    assert "stays" in rows(url)
    store = Store(open_database(url))
    assert store.people.opted_out() == {GUS}
    store.close()
    db(settings, "check")
    postgres.drop(name)


@pytest.mark.both_databases
async def test_what_was_deleted_and_taken_back_one_by_one_stays_so_after_a_restore(
    database_url: str,
    settings: Settings,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERSONA_CHAT_DATABASE_URL", database_url)
    settings.data_dir.mkdir(exist_ok=True)
    upgrade(database_url)
    store = Store(open_database(database_url), settings.data_dir)
    revision = seat_vera(store)
    vera = store.seating.at(Spot(Scope.CHANNEL, CHANNEL))
    assert vera is not None
    for number, person in ((1, GUS), (2, OLIVE)):
        say(store, number, person, "Hello", revision)
    chat, privacy = chat_of(store, settings)
    feedback, cast, memory = Feedback(store, privacy.opted_out), chat.cast, chat.memory
    away, back = (store.library.create(HOME, Persona(name, "A captain."), GUS) for name in ("Away", "Back"))
    await feedback.suggest(1, 1, GUS, f"{CANARY} suggested")
    await feedback.suggest(2, 1, GUS, "stays suggested")
    await feedback.judge(1, 1, OLIVE, Thumb.UP)
    await feedback.judge(1, 2, OLIVE, Thumb.UP)
    await feedback.judge(2, 1, OLIVE, Thumb.DOWN)
    await memory.keep(CHANNEL, vera.id, [f"I have a {CANARY}.", "I have a cat."], OLIVE, [])
    await memory.keep(CHANNEL + 1, vera.id, ["I have a dog."], OLIVE, [])
    put_back = copied(database_url, settings, tmp_path, request)

    await cast.delete(away)
    await cast.delete(back)
    await cast.restore(back.id)
    await feedback.suggest(1, 1, GUS, "")
    await feedback.judge(1, 1, OLIVE, None)
    await feedback.take_back(1, OLIVE, Thumb.UP)
    await feedback.take_back(2, OLIVE, Thumb.UP)  # which was none
    await memory.keep(CHANNEL, vera.id, ["I have a cat."], OLIVE, [f"I have a {CANARY}.", "I have a cat."])
    await memory.keep(CHANNEL + 1, vera.id, ["I have a dog.", "And a hen."], OLIVE, ["I have a dog."])
    assert [one.what for one in store.ledger.deletions()] == [
        "persona deleted",
        "persona deleted",
        "persona restored",
        "suggestion taken back",
        "thumb taken back",
        "thumb taken back",
        "notes taken away",
    ]
    store.close()
    put_back()

    assert CANARY not in rows(database_url)
    store = Store(open_database(database_url), settings.data_dir)
    assert store.library.get(away.id) is None
    assert store.library.get(back.id) is not None
    assert store.feedback.of(1, 1, GUS) == store.feedback.of(1, 1, OLIVE) == store.feedback.of(1, 2, OLIVE) == Mine()
    assert store.feedback.of(2, 1, GUS) == Mine(None, "stays suggested")
    assert store.feedback.of(2, 1, OLIVE) == Mine(Thumb.DOWN)
    assert store.memories.of(CHANNEL, vera.id) == ((), 0), "which notes were meant cannot be said without words"
    assert store.memories.of(CHANNEL + 1, vera.id) == (("I have a dog.",), 0)

    # What came since is not meant: ids of personas are used again, and people may change their mind.
    made_since = store.library.create(HOME, Persona("New", "A captain."), GUS)
    with store.ledger.noted("persona deleted", (made_since.id + 1,)):
        pass
    other = store.library.create(HOME, Persona("Newer", "A captain."), GUS)
    store.feedback.suggest(1, 1, GUS, "again")
    store.memories.keep(CHANNEL, vera.id, ["I have a horse."], OLIVE)
    redo(store, store.ledger.deletions())
    assert other.id == made_since.id + 1
    assert store.library.get(other.id) is not None
    assert store.feedback.of(1, 1, GUS) == Mine(None, "again")
    assert store.memories.of(CHANNEL, vera.id) == (("I have a horse.",), 0)
    store.close()


def copied(url: str, settings: Settings, folder: Path, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Back the database up as its kind is, and return what puts the backup in its place, as an operator does."""
    if on_sqlite(url):
        made = backed_up(settings)
        return lambda: print(db(settings, "restore", made))
    postgres: Postgres = request.getfixturevalue("postgres")
    name, dump = make_url(url).database, str(folder / "dump")
    postgres.call("pg_dump", "--format=custom", f"--file={dump}", str(name))

    def put_back() -> None:
        postgres.call("pg_restore", "--clean", "--if-exists", "--single-transaction", f"--dbname={name}", dump)
        print(db(settings, "forget-again"))

    return put_back


def test_a_backup_from_before_what_is_still_noted_is_refused(store: Store, settings: Settings) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    made = backed_up(settings)
    store.close()
    old = made.with_name(f"persona-chat-0001-{datetime.now(UTC) - timedelta(days=500):{backup.STAMP}}.sqlite3")
    made.rename(old)
    with store.ledger.noted("forgotten", (GUS,)):
        pass
    assert store.ledger.prune(datetime.now(UTC)) == 1
    before = rows(settings.data_dir / DATABASE)
    assert "is not noted any more" in db(settings, "restore", old, code=2)
    assert rows(settings.data_dir / DATABASE) == before
    assert "0 deletions were done again" in db(settings, "restore", old, "--even-so")
    assert "is not noted any more" in db(settings, "forget-again")


def test_a_backup_is_whole_private_and_rotated(store: Store, settings: Settings) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    made = backed_up(settings)
    assert made.stat().st_mode & 0o777 == 0o600
    assert CANARY in rows(made)
    assert backup.faults_of(made) == ()
    for day in range(1, 10):
        made.with_name(f"persona-chat-0001-2026010{day}T000000Z.sqlite3").write_bytes(b"")
    db(settings, "backup", "--keep", 3)
    kept = sorted(path.name for path in backup.made_of(settings.data_dir / DATABASE))
    assert len(kept) == 3
    assert kept[0] >= "persona-chat-0001-20260108T000000Z.sqlite3"  # two were made just now, perhaps in one second


def test_nothing_is_restored_while_a_bot_holds_the_folder(store: Store, settings: Settings) -> None:
    made = backed_up(settings)
    before = (settings.data_dir / DATABASE).read_bytes()
    with holding(settings.data_dir) as bot:
        assert f"process {bot.pid}" in db(settings, "restore", made, code=15)
    assert (settings.data_dir / DATABASE).read_bytes() == before


@pytest.mark.parametrize("fault", ["corrupt", "text", "newer", "missing"])
def test_a_backup_that_cannot_be_used_is_refused_and_nothing_changes(
    store: Store, settings: Settings, fault: str
) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    made = backed_up(settings)
    store.close()
    spoil(made, fault)
    before = (settings.data_dir / DATABASE).read_bytes()
    code, why = {
        "corrupt": (10, "damaged"),
        "text": (10, "damaged"),
        "newer": (7, "newer version"),
        "missing": (2, "no such file"),
    }[fault]
    assert why in db(settings, "restore", made, code=code)
    assert (settings.data_dir / DATABASE).read_bytes() == before
    assert not (settings.data_dir / "restoring").exists()


@pytest.mark.parametrize("fault", ["corrupt", "text", "newer"])
def test_a_database_that_cannot_be_used_is_said_and_a_backup_takes_its_place(
    store: Store, settings: Settings, fault: str
) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    made = backed_up(settings)
    store.close()
    file = settings.data_dir / DATABASE
    spoil(file, fault)
    spoiled = file.read_bytes()
    done = persona_chat("db", "check", "--data-dir", settings.data_dir)
    assert done.returncode != 0
    refused = persona_chat("db", "backup", "--data-dir", settings.data_dir)
    assert (refused.returncode != 0) == (fault != "newer"), "a newer one is whole, and can be backed up"
    assert file.read_bytes() == spoiled
    replaced = Path(db(settings, "restore", made).split("before: ")[1].strip())
    assert replaced.read_bytes() == spoiled, "nothing is deleted"
    assert CANARY in rows(file)


def spoil(path: Path, fault: str) -> None:
    if fault == "missing":
        path.unlink()
    elif fault == "text":
        path.write_text("no database" * 100)
    elif fault == "newer":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
    else:
        content = bytearray(path.read_bytes())
        content[5000:40000] = b"\xff" * 35000
        path.write_bytes(content)

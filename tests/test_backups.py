"""Backups of a database in use, and restores that bring back nothing that was deleted: by the real commands."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from persona_chat.settings import Settings
from persona_chat.store import backup
from persona_chat.store.database import DATABASE, open_database
from persona_chat.store.store import Store
from tests.people import CANARY, GUS, OLIVE, chat_of, files_with, rows, say, seat_vera
from tests.postgres import Postgres
from tests.test_cli import persona_chat
from tests.test_instance import holding


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

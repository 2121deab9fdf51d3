"""A database that the bot cannot use: the start says what is wrong, and leaves every byte as it is."""

import asyncio
import ctypes
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot import run
from persona_chat.errors import DatabaseTooNew, DatabaseUnusable, PersonaChatError
from persona_chat.heard import Heard
from persona_chat.settings import Settings, load_settings
from persona_chat.store import schema
from persona_chat.store.database import DATABASE
from persona_chat.store.store import Store
from tests.people import place, seat_vera
from tests.torture import count, record

PAGE = 4096


def write(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(sql)


def garbage(file: Path, page: int) -> None:
    """Put what is no page in the place of one, counted from 0; of the first the header stays."""
    content, first = bytearray(file.read_bytes()), page * PAGE if page else 100
    content[first : (page + 1) * PAGE] = random.Random(page).randbytes((page + 1) * PAGE - first)
    file.write_bytes(content)


def something_elses(file: Path) -> None:
    file.unlink()
    write(file, "CREATE TABLE recipes (text)")


VARIANTS: dict[str, tuple[Callable[[Path], object], type[PersonaChatError], str]] = {
    "no database": (lambda file: file.write_bytes(b"Dear diary. " * 999), DatabaseUnusable, "is damaged or is no"),
    "damaged at its beginning": (lambda file: garbage(file, 0), DatabaseUnusable, "is damaged or is no"),
    "cut off": (lambda file: os.truncate(file, file.stat().st_size // 2), DatabaseUnusable, "is damaged or is no"),
    "something else's": (something_elses, DatabaseUnusable, "something else"),
    "newer": (lambda file: write(file, "UPDATE alembic_version SET version_num = '9999'"), DatabaseTooNew, "9999"),
}


@pytest.fixture
def file(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database with talk in it, of a bot that was stopped."""
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    revision = seat_vera(store)
    for number in range(1, 40):
        store.claim(Heard(number, place(), "Gus", "Hello! " * 60))
        store.save_reply(number, revision, "Hi! " * 60)
    store.close()
    return settings.data_dir / DATABASE


def start(file: Path) -> None:
    asyncio.run(run.serve(load_settings(data_dir=file.parent)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_database_that_cannot_be_used_is_named_and_left_as_it_is(file: Path, variant: str) -> None:
    """C3."""
    spoil, error, said = VARIANTS[variant]
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(error, match=said) as refused:
        start(file)
    assert file.read_bytes() == before
    record(f"C3 {variant}", refused_with_code=refused.value.exit_code, changed_bytes=0)


def test_wherever_a_database_is_damaged_that_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C3. One page after the other holds what is no page. Without looking at all of them most would be found later."""
    whole = file.read_bytes()
    pages = len(whole) // PAGE
    for page in random.Random(5).sample(range(pages), count(5, pages)):
        file.write_bytes(whole)
        garbage(file, page)
        before = file.read_bytes()
        with pytest.raises(DatabaseUnusable, match="is damaged"):
            start(file)
        assert file.read_bytes() == before
    record("C3 damaged anywhere", pages=count(5, pages), refused=count(5, pages), changed_bytes=0)
    monkeypatch.setattr(schema, "_check_pages", lambda *_given: None)
    assert schema.upgrade(f"sqlite:///{file}").backup is None, "else this proves nothing"


def without_roots_rights() -> None:
    """Let even root be refused what permissions forbid: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH go, from exec on."""
    for right in (1, 2):
        ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP


def test_a_folder_that_may_only_be_read_is_named(file: Path) -> None:
    """C3."""
    before = file.read_bytes()
    file.chmod(0o400)
    file.parent.chmod(0o500)
    command = [sys.executable, "-m", "bot", "run", "--data-dir", str(file.parent)]
    done = subprocess.run(command, preexec_fn=without_roots_rights, capture_output=True, text=True, check=False)
    file.parent.chmod(0o700)
    assert "cannot be kept in" in done.stderr, done.stderr
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [DATABASE]
    record("C3 only to be read", refused_with_code=done.returncode, changed_bytes=0)

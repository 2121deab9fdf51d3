"""A bot whose PostgreSQL is locked, full or away for a while: nothing is said that is not kept, all are answered."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from persona_chat import keeping
from persona_chat.asking import Asking
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.heard import Heard
from persona_chat.settings import Settings
from persona_chat.store import server
from persona_chat.store.seating import Seated
from tests.fakediscord.bot_here import Here, bot_here
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import ledger
from tests.postgres import ALL_TABLES, Postgres, rows_of
from tests.torture import count, record

LOCKED_S = (1, 6, 30)
AWAY_S = 10.0
CHANNELS = 4
TAKES_NOTHING = "the database takes nothing"
LONG = "word " * 300


def hurry(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let all waits be so many times shorter: for the server, for a lock of it, and our pauses."""
    options = " ".join(f"-c {name}={limit // times}" for name, limit in server.LIMITS.items())
    monkeypatch.setattr(server, "CONNECT", {**server.CONNECT, "options": options})
    monkeypatch.setattr(keeping, "PAUSE_S", keeping.PAUSE_S / times)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    name = postgres.with_all_tables()
    yield postgres.url(name)
    postgres.drop(name)


@asynccontextmanager
async def at_work(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    """The bot inside the block, in some channels."""
    there = FakeDiscord(CHANNELS)
    engine = ScriptedEngine(lambda request: f"heard {request.dialogue[-1].text[:40]}", delay_s=0.02)
    async with bot_here(there, settings.data_dir, monkeypatch, engine, url=url, stream=False) as here:
        yield here


@asynccontextmanager
async def talk(here: Here) -> AsyncIterator[None]:
    """People say something in every channel all the time, inside the block and a while before."""

    async def people() -> None:
        while True:
            for channel in here.discord.channels:
                here.say(channel, f"{len(here.asked)} {LONG}")
            await asyncio.sleep(0.3)

    talking = asyncio.create_task(people())
    await here.until(lambda: bool(here.discord.replies(here.discord.channels[-1])))
    try:
        yield
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking


def said_and_not_kept(here: Here, url: str) -> int:
    """How many answers stand in Discord that the database does not have."""
    kept = {message for (message,) in rows_of(url, "SELECT message_id FROM messages WHERE state = 'answered'")}
    return sum(to not in kept for channel in here.discord.channels for to, _ in here.discord.replies(channel))


async def all_answered(here: Here, url: str) -> dict[str, int]:
    """What came of it in the end: every message has its answer, which is no excuse, and is kept as answered."""
    await here.until_answered(60)
    await here.until_settled()
    lost, doubled = here.counted()
    assert (lost, doubled, excuses(here)) == (0, 0, 0)
    assert ledger(url) == {"answered": len(here.asked)}
    return {"messages": len(here.asked), "lost": lost, "doubled": doubled}


def excuses(here: Here) -> int:
    """How often somebody was told that something went wrong."""
    said = [words for channel in here.discord.channels for _, words in here.discord.replies(channel)]
    return sum(not words.startswith("heard ") for words in said)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another session holds all tables of the talk for itself inside the block, so that they cannot even be read."""
    engine = create_engine(url)
    with engine.begin() as other:
        other.execute(text("LOCK TABLE messages, replies, sent_parts, personas IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("waited", [True, False][: count(1, 2)])
async def test_tables_that_are_locked_hold_answers_back_and_lose_none(
    settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, waited: bool
) -> None:
    """C2. For shorter and for longer than a statement of ours waits for a lock.

    Some messages were claimed and not yet thought about when that began.
    """
    times = count(20, 1) if waited else 20
    hurry(monkeypatch, times)
    gate, asked = asyncio.Event(), Asking.asked
    gate.set()

    async def held_up(self: Asking, heard: Heard) -> tuple[Seated, ReplyRequest]:
        await gate.wait()
        return await asked(self, heard)

    monkeypatch.setattr(Asking, "asked", held_up)
    if not waited:
        monkeypatch.setattr("persona_chat.chat.patiently", _at_once)
    async with at_work(settings, url, monkeypatch) as here:
        async with talk(here):
            for seconds in LOCKED_S if waited else LOCKED_S[-1:]:
                gate.clear()
                await asyncio.sleep(0.5)
                with locked(url):
                    gate.set()
                    await asyncio.sleep(seconds / times)
                assert bool(excuses(here)) is not waited
                assert bool(said_and_not_kept(here, url)) is not waited
        if not waited:
            return
        figures = await all_answered(here, url)
    assert TAKES_NOTHING in caplog.text
    record("C2", database="postgresql", locks=len(LOCKED_S), **figures)


GONE = {
    "away": ("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
    "read only": ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", list(GONE)[: count(1, 2)])
async def test_a_server_that_is_not_there_holds_answers_back_and_loses_none(
    settings: Settings,
    url: str,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    """C2. As when it is started anew: connections end in the middle of what they do, and new ones are refused.

    Or they are let in and may only read, as by a standby, or by a hosted server whose disk is full.
    """
    times, name = count(10, 1), make_url(url).database
    hurry(monkeypatch, times)
    async with at_work(settings, url, monkeypatch) as here:
        async with talk(here):
            for change in GONE[how]:
                postgres.run(f"ALTER DATABASE {name} {change}")
                postgres.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
                if change == GONE[how][0]:
                    await asyncio.sleep(AWAY_S / times)
            assert said_and_not_kept(here, url) == 0
        figures = await all_answered(here, url)
    assert TAKES_NOTHING in caplog.text
    record(f"C2 server {how}", database="postgresql", seconds=AWAY_S / times, **figures)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 24 MB that belongs to the server."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=24m,mode=700,uid=postgres", "none", str(folder)]
    done = subprocess.run([mount, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def url_on_small_disk(postgres: Postgres) -> Iterator[tuple[str, Path]]:
    """A database in a tablespace of its own, and where that lies."""
    postgres.drop(postgres.with_all_tables())  # so that there is one to copy
    with small_disk(postgres.folder / "small") as disk:
        space = disk / "space"
        space.mkdir(mode=0o700)
        shutil.chown(space, "postgres")
        postgres.run(f"CREATE TABLESPACE small LOCATION '{space}'")
        postgres.run(f"CREATE DATABASE on_small_disk TEMPLATE {ALL_TABLES} TABLESPACE small")
        try:
            yield postgres.url("on_small_disk"), disk
        finally:
            postgres.drop("on_small_disk")
            postgres.run("DROP TABLESPACE small")


@pytest.mark.timeout(300)
async def test_a_server_without_room_holds_answers_back_and_loses_none(
    settings: Settings,
    url_on_small_disk: tuple[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C1. It is read from meanwhile, and taken up by itself when there is room."""
    hurry(monkeypatch, 10)
    url, disk = url_on_small_disk
    ballast = disk / "ballast"
    async with at_work(settings, url, monkeypatch) as here:
        async with talk(here):
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            await here.until(lambda: TAKES_NOTHING in caplog.text, 60)
            assert TAKES_NOTHING in caplog.text
            await asyncio.sleep(1)
            waiting, _ = here.counted()
            kept = len(rows_of(url, "SELECT 1 FROM messages WHERE state = 'answered'"))
            assert said_and_not_kept(here, url) == 0
            assert waiting
            ballast.unlink()
        figures = await all_answered(here, url)
    record("C1", database="postgresql", kept_while_full=kept, held_back=waiting, **figures)


async def _at_once(act: Callable[[], Awaitable[Any]]) -> Any:
    return await act()

"""A bot whose database is full or locked for a while: nothing is said without being kept, and then all are answered."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest

from persona_chat.store.database import DATABASE
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import LivingBot, counted, ledger, living, until
from tests.test_faults_of_databases import locked
from tests.torture import count, record

LONG = "word " * 300
LOCKED_S = (1, 6, 30)
TAKES_NOTHING = "the database takes nothing"


def all_say(discord: FakeDiscord, asked: dict[int, int], text: str) -> None:
    """Let somebody say that in every channel."""
    asked.update({discord.post(channel, text): channel for channel in discord.channels})


def held_back(discord: FakeDiscord, asked: dict[int, int], data_dir: Path) -> int:
    """How many messages have no answer yet. What has one is kept, and no mark went past one that has none."""
    with closing(sqlite3.connect(data_dir / DATABASE)) as database:
        assert database.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        kept = {message for (message,) in database.execute("SELECT message_id FROM messages WHERE state = 'answered'")}
        marks = dict(database.execute("SELECT channel_id, message_id FROM marks"))
    answered = {to for channel in discord.channels for to, _ in discord.replies(channel)}
    assert answered <= kept
    waiting = asked.keys() - answered
    assert all(marks.get(asked[message], 0) < message for message in waiting)
    return len(waiting)


@contextmanager
def short_files(bot: LivingBot, data_dir: Path) -> Iterator[None]:
    """No file may become longer than the log of the database is: SQLITE_IOERR."""
    longest = data_dir.joinpath(f"{DATABASE}-wal").stat().st_size
    before = resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, (longest, resource.RLIM_INFINITY))
    yield
    resource.prlimit(bot.process.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def full_disk(_bot: LivingBot, data_dir: Path) -> Iterator[None]:
    """No byte is free: SQLITE_FULL."""
    ballast = data_dir / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)
    yield
    ballast.unlink()


@contextmanager
def no_more_pages(bot: LivingBot, _data_dir: Path) -> Iterator[None]:
    """The database may have no more pages: SQLITE_FULL as well."""
    bot.tell(signal.SIGUSR1)
    yield
    bot.tell(signal.SIGUSR2)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk cannot be mounted: there is no `mount` here")
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted, which takes root's rights: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


WAYS = {"short files": short_files, "no more pages": no_more_pages, "full disk": full_disk}


@pytest.mark.parametrize("way", list(WAYS)[: count(1, 3)])
async def test_a_database_that_is_full_holds_answers_back_and_loses_none(tmp_path: Path, way: str) -> None:
    """C1. It is read from meanwhile, and taken up by itself when there is room."""
    discord = FakeDiscord(4)
    asked: dict[int, int] = {}
    data_dir = tmp_path / "data"
    with small_disk(data_dir) if way == "full disk" else nullcontext():
        async with living(data_dir, discord, "--filling") as bot:
            all_say(discord, asked, "hello")
            await until(discord, lambda: not counted(discord, asked)[0])
            with WAYS[way](bot, data_dir):
                async with asyncio.timeout(60):
                    while TAKES_NOTHING not in bot.log.read_text():
                        all_say(discord, asked, LONG)
                        await asyncio.sleep(0.3)
                all_say(discord, asked, LONG)
                await asyncio.sleep(1.5)  # marks are kept once a second
                waiting = held_back(discord, asked, data_dir)
                assert waiting >= len(discord.channels)
            await until(discord, lambda: not counted(discord, asked)[0])
        lost, doubled = counted(discord, asked)
        states = ledger(data_dir)
    record(f"C1 {way}", messages=len(asked), held_back=waiting, lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert states == {"answered": len(asked)}


async def test_a_database_that_is_locked_holds_answers_back_and_loses_none(tmp_path: Path) -> None:
    """C2. By another program, for shorter and for longer than SQLite itself waits."""
    discord = FakeDiscord(4)
    data_dir = tmp_path / "data"
    everybody: dict[int, int] = {}
    async with living(data_dir, discord) as bot:
        for seconds in LOCKED_S[: count(1, 3)]:
            asked: dict[int, int] = {}
            with locked(data_dir / DATABASE):
                all_say(discord, asked, "while it is locked")
                await asyncio.sleep(seconds / 2)
                all_say(discord, asked, "and still")
                await asyncio.sleep(seconds / 2)
                assert held_back(discord, asked, data_dir) == len(asked)
            await until(discord, lambda asked=asked: not counted(discord, asked)[0])  # type: ignore[misc]
            lost, doubled = counted(discord, asked)
            record(f"C2 locked for {seconds} s", messages=len(asked), held_back=len(asked), lost=lost, doubled=doubled)
            assert (lost, doubled) == (0, 0)
            assert (TAKES_NOTHING in bot.log.read_text()) is (seconds > 5)
            everybody |= asked
    assert counted(discord, everybody) == (0, 0)
    assert ledger(data_dir) == {"answered": len(everybody)}


@pytest.mark.skipif(not count(0, 1), reason="in `make torture`: it takes twice as long as SQLite itself waits")
async def test_a_database_that_is_locked_while_the_bot_starts_loses_none(tmp_path: Path) -> None:
    """C2. What was begun before, and what was said while the bot was down, is taken up afterwards."""
    discord = FakeDiscord(4)
    data_dir = tmp_path / "data"
    asked: dict[int, int] = {}
    async with living(data_dir, discord, "--delay-s", "0.5") as bot:
        all_say(discord, asked, "hello")
        await until(discord, lambda: not counted(discord, asked)[0])
        all_say(discord, asked, "as it dies")
        await until(discord, lambda: ledger(data_dir).get("claimed", 0) > 0)
        await bot.kill()
        all_say(discord, asked, "while it is down")
        with locked(data_dir / DATABASE):
            await bot.start()
            await until(discord, lambda: discord.identified == 2)
            await asyncio.sleep(7)
            waiting = held_back(discord, asked, data_dir)
        await until(discord, lambda: not counted(discord, asked)[0])
    lost, doubled = counted(discord, asked)
    record("C2 locked at the start", messages=len(asked), held_back=waiting, lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert ledger(data_dir) == {"answered": len(asked)}


@pytest.mark.skipif(not count(0, 1), reason="in `make torture`: it takes as long as SQLite itself waits")
async def test_without_waiting_for_the_database_that_would_be_seen(tmp_path: Path) -> None:
    discord = FakeDiscord(4)
    data_dir = tmp_path / "data"
    asked: dict[int, int] = {}
    async with living(data_dir, discord, "--without", "waiting for the database") as bot:
        with locked(data_dir / DATABASE):
            all_say(discord, asked, "while it is locked")
            await until(discord, lambda: "OperationalError" in bot.log.read_text())
            await asyncio.sleep(1)  # the others wait one after the other
        await until(discord, lambda: not counted(discord, asked)[0])
    said = [words for channel in discord.channels for _, words in discord.replies(channel)]
    lost = len(asked) - sum("heard" in words for words in said)
    record("C2 without waiting", messages=len(asked), lost=lost)
    assert lost

"""The bot as a process of its own on a Discord of loopback: started, watched from outside, stopped or killed."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.fakediscord.server import FakeDiscord, listening
from tests.postgres import on_sqlite, rows_of

PROJECT = Path(__file__).parents[1]


class LivingBot:
    """One process after the other on the same data. `settings` are variables without their prefix.

    Its database is at `url`, without one SQLite's in the data folder. With `files` it may have only so many files open.
    What it logs lies in `log`, beside its data.
    """

    def __init__(
        self,
        port: int,
        data_dir: Path,
        *,
        url: str | None = None,
        files: int | None = None,
        shifting_clock: bool = False,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.log = data_dir.with_suffix(".log")
        self._notes = data_dir.with_suffix(".noted")
        self._environment = {f"PERSONA_CHAT_{name}": value for name, value in (settings or {}).items()}
        if url is not None:
            self._environment["PERSONA_CHAT_DATABASE_URL"] = url
        given = [str(port), str(data_dir), "--note", str(self._notes)] + ["--shifting-clock"] * shifting_clock
        self._command = [sys.executable, "-m", "tests.fakediscord.bot_process", *given]
        if files is not None:
            self._command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *self._command]
        self._process: asyncio.subprocess.Process | None = None
        self.began_at = 0.0

    @property
    def process(self) -> psutil.Process:
        """The process that runs now, to be looked at."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def rss_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6

    async def start(self, *options: str) -> None:
        self.began_at = time.time()
        with self.log.open("a") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, *options, cwd=PROJECT, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """As a power cut ends it, or the kernel when memory is short."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """As a supervisor ends it. It must have lived until now."""
        assert self._process is not None
        assert self._process.returncode is None, self.log.read_text()[-2000:]
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        async with asyncio.timeout(30):
            await self._process.wait()

    def asked(self) -> int:
        """How many replies its engine was asked for, up to the last note."""
        return max((int(note["asked"]) for note in self._noted()), default=0)

    def late_ms(self, share: float, of: str = "late") -> float:
        """How late the event loop was: that share of the time less than this many milliseconds. See `NotingEngine`."""
        return quantile((one for note in self._noted() for one in note[of]), share)

    def _noted(self) -> list[dict[str, Any]]:
        found = []
        for line in self._notes.read_text().splitlines():
            with suppress(ValueError):  # a kill may have cut it
                found.append(json.loads(line))
        return found


def quantile(values: Iterable[float], share: float) -> float:
    """The value that this share of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@asynccontextmanager
async def living(
    data_dir: Path, discord: FakeDiscord, *options: str, url: str | None = None, **how: Any
) -> AsyncIterator[LivingBot]:
    """The bot as a process inside the block, connected, with a persona in every channel; it is stopped at the end."""
    seat_everywhere(url or default_url(data_dir), discord)
    async with listening(discord) as port:
        bot = LivingBot(port, data_dir, url=url, **how)
        await bot.start(*options)
        try:
            await until(discord, lambda: discord.gateway.connected)
            yield bot
            await bot.stop()
        except BaseException:
            with suppress(ProcessLookupError):  # it has ended by itself
                await bot.kill()
            raise
    assert not discord.unknown, discord.unknown


async def until(discord: FakeDiscord, done: Callable[[], bool], within_s: float = 60) -> None:
    """Wait until something is so; it is looked whenever something was said, and now and then."""
    async with asyncio.timeout(within_s):
        while not done():
            discord.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(discord.changed.wait(), 0.2)


async def until_quiet(discord: FakeDiscord, quiet_s: float = 1.0) -> None:
    """Wait until nothing happens there any more: what comes a second time comes late, and what is lost never does."""
    with suppress(TimeoutError):
        while True:
            discord.changed.clear()
            await asyncio.wait_for(discord.changed.wait(), quiet_s)


def seat_everywhere(url: str, discord: FakeDiscord) -> None:
    """Let a persona of its guild talk in every channel."""
    upgrade(url)
    store = Store(open_database(url))
    for guild in discord.guilds:
        first, *others = (one for one in discord.channels if discord.guild_of(one) == guild)
        vera = Persona("Vera", "I keep a lighthouse.")
        kept = store.seating.put(Spot(Scope.CHANNEL, first), Spot(Scope.SERVER, guild), vera)
        for channel in others:
            store.seating.seat(Spot(Scope.CHANNEL, channel), kept.id)
    store.close()


def counted(discord: FakeDiscord, asked: dict[int, int]) -> tuple[int, int]:
    """How many messages, with the channels that they stand in, have no answer, and how many answers are too many."""
    answered = [to for channel in discord.channels for to, _ in discord.replies(channel) if to in asked]
    return len(asked.keys() - set(answered)), len(answered) - len(set(answered))


def ledger(database: Path | str) -> dict[str, int]:
    """How many messages stand in which state in a database, by its data folder or its URL; it is whole."""
    url = default_url(database) if isinstance(database, Path) else database
    if on_sqlite(url):
        assert rows_of(url, "PRAGMA integrity_check") == [("ok",)]
        assert rows_of(url, "PRAGMA foreign_key_check") == []
    return dict(rows_of(url, "SELECT coalesce(reason, state), count(*) FROM messages GROUP BY 1"))  # type: ignore[arg-type]

"""A bot that is killed again and again answers every message once: real processes, sockets, files and signals."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from persona_chat.settings import Settings
from tests.fakediscord.bot_process import PROTECTIONS
from tests.fakediscord.server import FakeDiscord, listening
from tests.living_bot import seat_everywhere
from tests.postgres import on_sqlite
from tests.torture import count, record

CHANNELS = 10
EVERY_S = 0.04
SEED = 7


class Killed:
    """The bot as a process that is killed, and what people said to it meanwhile."""

    def __init__(self, discord: FakeDiscord, port: int, data_dir: Path, url: str, without: str | None = None) -> None:
        self.discord, self._port, self._data_dir, self._without = discord, port, data_dir, without
        self._environment = {**os.environ, "PERSONA_CHAT_DATABASE_URL": url}
        self.asked: list[tuple[int, int]] = []
        self.random = random.Random(SEED)

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        more = [] if self._without is None else ["--without", self._without]
        given = [str(self._port), str(self._data_dir), *more, *options]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.fakediscord.bot_process",
            *given,
            cwd=Path(__file__).parents[1],
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def talk(self) -> None:
        """Say something every few milliseconds, in channels by chance."""
        while True:
            channel = self.random.choice(self.discord.channels)
            self.asked.append((channel, self.discord.post(channel, f"message {len(self.asked)}")))
            await asyncio.sleep(EVERY_S)

    async def live(self, kills: int) -> None:
        """Kill it so often, each time in the middle of replies, and let it come to rest at the end."""
        first = await self.start()
        await self.until(lambda: self.discord.identified == 1)
        # Marks are kept only of channels where somebody talked before.
        self.asked += [(channel, self.discord.post(channel, "hello")) for channel in self.discord.channels]
        await self.until(self.all_answered)
        await asyncio.sleep(1.5)  # for marks to be kept
        process = first
        for number in range(kills):
            talking = asyncio.create_task(self.talk())
            await asyncio.sleep(self.random.uniform(0.5, 3.5))
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await asyncio.sleep(0.2)  # this is said to nobody
            talking.cancel()
            process = await self.start()
            await self.until(lambda so_far=number: self.discord.identified == so_far + 2)  # type: ignore[misc]
        await self.until_quiet()
        process.send_signal(signal.SIGTERM)
        await process.wait()

    async def until_quiet(self) -> None:
        """Wait until nothing more comes: what is lost never does."""
        with suppress(TimeoutError):
            while True:
                self.discord.changed.clear()
                await asyncio.wait_for(self.discord.changed.wait(), 3)

    def counted(self) -> tuple[int, int]:
        """How many messages have no answer, and how many answers are one too many."""
        answered = [to for channel in self.discord.channels for to, _ in self.discord.replies(channel)]
        lost = sum(message not in answered for _, message in self.asked)
        return lost, len(answered) - len(set(answered))

    def all_answered(self) -> bool:
        return self.counted()[0] == 0

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(25):
            while not done():
                self.discord.changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.discord.changed.wait(), 0.2)


async def live(data_dir: Path, url: str, kills: int, without: str | None = None) -> tuple[int, int, int]:
    discord = FakeDiscord(CHANNELS)
    discord.ignores_nonces = without in ("nonce", "claim")
    if without == "nonce":
        discord.answers_after_s = 0.2  # so that a kill is likely to come between
    seat_everywhere(url, discord)
    async with listening(discord) as port:
        killed = Killed(discord, port, data_dir, url, without)
        await killed.live(kills)
    assert not discord.unknown, discord.unknown
    return (len(killed.asked), *killed.counted())


@pytest.mark.both_databases
@pytest.mark.timeout(600)
async def test_a_bot_that_is_killed_loses_nothing_and_says_nothing_twice(settings: Settings, database_url: str) -> None:
    kills = count(2, 40)
    asked, lost, doubled = await live(settings.data_dir, database_url, kills)
    database = "sqlite" if on_sqlite(database_url) else "postgresql"
    record("B1", database=database, kills=kills, messages=asked, lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protection", PROTECTIONS[: count(1, len(PROTECTIONS))])
async def test_without_a_protection_that_would_be_seen(settings: Settings, database_url: str, protection: str) -> None:
    asked, lost, doubled = await live(settings.data_dir, database_url, count(2, 5), protection)
    record(f"B1 without {protection}", messages=asked, lost=lost, doubled=doubled)
    assert lost or doubled

"""A bot that is talked to for long, among faults by chance. Alone in its file, so that it runs beside the others."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import linear_regression
from typing import Any, NamedTuple

import pytest

from persona_chat.settings import Settings
from tests.fakediscord.gateway import Fault as Loss
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import LivingBot, counted, ledger, living, until
from tests.postgres import kind_of, on_sqlite, only_whole_on_a_server
from tests.torture import count, record

CHANNELS = 20
A_SECOND = 5
SECONDS = count(12, 1200)
FAULT_EVERY_S = count(3, 12)
SEED = 7


class Around(NamedTuple):
    """What a fault may touch."""

    discord: FakeDiscord
    bot: LivingBot


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong now. Where it `kills`, the process does not live through it."""

    name: str
    happen: Callable[[Around], Awaitable[None]]
    kills: bool = False


async def _kill(around: Around) -> None:
    await around.bot.kill()
    await asyncio.sleep(0.3)  # this is said to nobody
    await around.bot.start()
    await until(around.discord, lambda: around.discord.gateway.connected)


def _lose(how: Loss) -> Callable[[Around], Awaitable[None]]:
    async def happen(around: Around) -> None:
        await around.discord.gateway.lose(how)

    return happen


def _refuse(status: int, **more: Any) -> Callable[[Around], Awaitable[None]]:
    """Let a few of the next replies fail in that way."""

    async def happen(around: Around) -> None:
        around.discord.faults.plan("POST channels/[0-9]+/messages", status, 3, **more)

    return happen


FAULTS = (
    Fault("kills", _kill, kills=True),
    *(
        Fault(f"{loss.name.lower()} connections", _lose(loss))
        for loss in Loss
        if loss not in (Loss.SILENT, Loss.INVALID)
    ),
    Fault("server errors", _refuse(503)),
    Fault("errors of what counted", _refuse(500, committed=True)),
    Fault("resets", _refuse(0)),
    Fault("rate limits", _refuse(429, retry_after=0.5)),
)
"""Not among them: silence, which takes a minute to be noticed, and invalid sessions, which cost five seconds each."""


class Soak:
    """People who talk, and what goes wrong meanwhile."""

    def __init__(self, around: Around, seconds: float) -> None:
        self._around = around
        self._seconds = seconds
        self._random = random.Random(SEED)
        self.asked: dict[int, int] = {}
        self.happened: dict[str, int] = {fault.name: 0 for fault in FAULTS}
        self.memory: list[tuple[float, float]] = []  # seconds, MB

    async def live(self) -> None:
        """First among all faults, then only among those that a process lives through, and its memory is measured.

        After a start memory grows for a while: between two kills there would be little else to measure.
        """
        discord = self._around.discord
        # Up to where it was heard is known only of channels where somebody talked before.
        self.asked |= {discord.post(channel, "hello"): channel for channel in discord.channels}
        await until(discord, self._all_answered)
        await asyncio.sleep(1.5)  # for that to be kept
        talking = asyncio.create_task(self._talk())
        await self._break(self._seconds / 3, FAULTS)
        measuring = asyncio.create_task(self._measure())
        await self._break(self._seconds * 2 / 3, [fault for fault in FAULTS if not fault.kills])
        for task in (talking, measuring):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await until(discord, self._all_answered)

    @property
    def slope_mb_a_minute(self) -> float:
        """How fast its memory grew at last, by least squares."""
        times, sizes = zip(*self.memory, strict=True)
        return linear_regression(times, sizes).slope * 60

    async def _break(self, seconds: float, faults: Sequence[Fault]) -> None:
        ends, waiting = time.monotonic() + seconds, list[Fault]()
        while (left := ends - time.monotonic()) > FAULT_EVERY_S / 2:
            await asyncio.sleep(min(left, self._random.uniform(0.5, 1.5) * FAULT_EVERY_S))
            if not waiting:  # each before one comes again: by chance alone a kind stayed away for twenty minutes
                waiting = self._random.sample(faults, len(faults))
            fault = waiting.pop()
            await fault.happen(self._around)
            self.happened[fault.name] += 1

    async def _talk(self) -> None:
        while True:
            channel = self._random.choice(self._around.discord.channels)
            self.asked[self._around.discord.post(channel, f"message {len(self.asked)}")] = channel
            await asyncio.sleep(self._random.uniform(0.5, 1.5) / A_SECOND)

    async def _measure(self) -> None:
        await asyncio.sleep(self._seconds / 6)
        while True:
            self.memory.append((time.monotonic(), self._around.bot.rss_mb))
            await asyncio.sleep(0.5)

    def _all_answered(self) -> bool:
        return not counted(self._around.discord, self.asked)[0]


@pytest.mark.both_databases
@pytest.mark.timeout(SECONDS + 200)
async def test_a_bot_that_lives_long_among_faults_loses_nothing_and_does_not_grow(
    settings: Settings, database_url: str
) -> None:
    """E5. Nothing is away for ten minutes, so nothing may expire: each message is answered, and once."""
    only_whole_on_a_server(database_url)
    seconds = SECONDS if on_sqlite(database_url) else SECONDS // 2  # or `make torture` would take more than an hour
    discord = FakeDiscord(CHANNELS)
    async with living(settings.data_dir, discord, url=database_url) as bot:
        soak = Soak(Around(discord, bot), seconds)
        await soak.live()
    lost, doubled = counted(discord, soak.asked)
    record(
        "E5",
        database=kind_of(database_url),
        seconds=seconds,
        messages=len(soak.asked),
        **soak.happened,
        lost=lost,
        doubled=doubled,
        grown_mb_a_minute=soak.slope_mb_a_minute,
    )
    assert any(soak.happened.values())
    assert (lost, doubled) == (0, 0)
    assert ledger(database_url) == {"answered": len(soak.asked)}
    if seconds >= 600:  # what grows in seconds says nothing of minutes
        assert soak.slope_mb_a_minute < 1

"""A bot that is stopped under load is gone in ten seconds, and at the next start what it left is answered, once."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from bot import drain
from bot.drain import Drain
from persona_chat.settings import Settings
from tests.fakediscord.server import FakeDiscord, listening
from tests.living_bot import seat_everywhere
from tests.postgres import on_sqlite
from tests.test_killed_bot import CHANNELS, Killed
from tests.torture import count, record

GONE_S = 10.0


class Stopped(Killed):
    """The bot as a process that is stopped, and what people said to it meanwhile."""

    def __init__(self, discord: FakeDiscord, port: int, data_dir: Path, url: str, without: str | None = None) -> None:
        super().__init__(discord, port, data_dir, url, without)
        self.took_s: list[float] = []
        self.codes: list[int] = []

    async def live(self, stops: int) -> None:
        """Stop it so often under load. Every other time it has no time at all to finish anything."""
        process = await self.start("--finish-s", "0")
        await self.until(lambda: self.discord.identified == 1)
        self.asked += [(channel, self.discord.post(channel, "hello")) for channel in self.discord.channels]
        await self.until(self.all_answered)
        for number in range(stops):
            talking = asyncio.create_task(self.talk())
            await asyncio.sleep(self.random.uniform(0.5, 2.5))
            await self.stop(process)
            await asyncio.sleep(0.2)  # this is said to nobody
            talking.cancel()
            process = await self.start("--finish-s", "0" if number % 2 else "5")
            await self.until(lambda so_far=number: self.discord.identified == so_far + 2)  # type: ignore[misc]
        await self.until_quiet()
        await self.stop(process)

    async def stop(self, process: asyncio.subprocess.Process) -> None:
        """Stop it as a supervisor does, and see how long it takes."""
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        self.codes.append(await asyncio.wait_for(process.wait(), 30))
        self.took_s.append(time.perf_counter() - began)

    def counted(self) -> tuple[int, int]:
        """How many messages have no answer of the persona, and how many have one too many."""
        said = [one for channel in self.discord.channels for one in self.discord.replies(channel)]
        answered = [to for to, words in said if "heard " in words]
        return sum(message not in answered for _, message in self.asked), len(answered) - len(set(answered))


async def stopped(data_dir: Path, url: str, stops: int, without: str | None = None) -> Stopped:
    discord = FakeDiscord(CHANNELS)
    seat_everywhere(url, discord)
    async with listening(discord) as port:
        bot = Stopped(discord, port, data_dir, url, without)
        await bot.live(stops)
    assert not discord.unknown, discord.unknown
    return bot


@pytest.mark.both_databases
@pytest.mark.timeout(600)
async def test_a_bot_that_is_stopped_under_load_is_gone_soon_and_loses_nothing(
    settings: Settings, database_url: str
) -> None:
    stops = count(1, 10)
    bot = await stopped(settings.data_dir, database_url, stops)
    lost, doubled = bot.counted()
    slowest_s = max(bot.took_s)
    figures = {"messages": len(bot.asked), "lost": lost, "doubled": doubled, "slowest_seconds": round(slowest_s, 1)}
    record("B7", database="sqlite" if on_sqlite(database_url) else "postgresql", stops=stops, **figures)
    assert (lost, doubled) == (0, 0)
    assert slowest_s <= GONE_S
    assert set(bot.codes) == {0}


@pytest.mark.timeout(600)
@pytest.mark.skipif(not count(0, 1), reason="in `make torture`: it takes twenty seconds")
async def test_without_finishing_people_would_be_sent_away(settings: Settings, database_url: str) -> None:
    bot = await stopped(settings.data_dir, database_url, 3, "finishing")
    lost, doubled = bot.counted()
    record("B7 without finishing", messages=len(bot.asked), lost=lost, doubled=doubled)
    assert lost


@pytest.mark.parametrize("without", [None, "cutting short"][: count(1, 2)])
async def test_a_stop_that_hangs_is_cut_short(settings: Settings, database_url: str, without: str | None) -> None:
    discord = FakeDiscord()
    seat_everywhere(database_url, discord)
    async with listening(discord) as port:
        bot = Stopped(discord, port, settings.data_dir, database_url, without)
        process = await bot.start("--hangs", "--finish-s", "0")
        await bot.until(lambda: discord.identified == 1)
        process.send_signal(signal.SIGTERM)
        try:
            assert await asyncio.wait_for(process.wait(), 6) == 0
            assert without is None
        except TimeoutError:
            assert without is not None
            process.kill()
            await process.wait()


async def test_a_stop_with_nothing_under_way_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "FINISH_S", 0)
    one = Drain()
    with one.under_way():
        pass
    await one.end()
    assert one.stopping

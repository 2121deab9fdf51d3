"""Many people at once, one who writes without end, and others who are no people: the bot as a process of its own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.fakediscord.server import BOT, GUEST, ME, FakeDiscord, listening
from tests.living_bot import LivingBot, counted, ledger, quantile, seat_everywhere, until
from tests.torture import count, record

CHANNELS = count(40, 200)
IN_EACH = 10


@asynccontextmanager
async def living(data_dir: Path, discord: FakeDiscord, **settings: str) -> AsyncIterator[LivingBot]:
    """The bot at work in every channel, inside the block; at the end it is stopped."""
    seat_everywhere(data_dir, discord)
    async with listening(discord) as port:
        bot = LivingBot(port, data_dir, settings=settings)
        await bot.start()
        try:
            await until(discord, lambda: discord.connected)
            hello = discord.post(discord.channels[0], "are you there")
            await until(discord, lambda: hello in discord.waits(discord.channels[0]))
            yield bot
            await bot.stop()
        except BaseException:
            await bot.kill()
            raise
    assert not discord.unknown, discord.unknown


@pytest.mark.timeout(300)
async def test_a_burst_in_all_channels_is_answered_whole_and_fairly(tmp_path: Path) -> None:
    """E1. The bot's own limits are off, and a channel's line (25) holds the ten: all are to be answered.

    A channel waits from its messages, which come in one burst, until the last of its answers; that is at most three
    times what the middle channel waits.
    """
    discord = FakeDiscord(CHANNELS)
    asked: dict[int, int] = {}
    async with living(tmp_path / "data", discord) as bot:
        idle = bot.rss_mb
        for number in range(IN_EACH):
            asked |= {discord.post(channel, f"message {number}"): channel for channel in discord.channels}
        most_mb = most_threads = most_files = 0.0
        async with asyncio.timeout(240):
            while counted(discord, asked)[0]:
                most_mb, most_threads = max(most_mb, bot.rss_mb), max(most_threads, bot.process.num_threads())
                most_files = max(most_files, bot.process.num_fds())
                await asyncio.sleep(0.1)
    waits = [max(wait for to, wait in discord.waits(channel).items() if to in asked) for channel in discord.channels]
    lost, doubled = counted(discord, asked)
    late = bot.late_ms(0.99)
    record(
        "E1",
        channels=len(discord.channels),
        messages=len(asked),
        lost=lost,
        doubled=doubled,
        seconds=max(waits),
        longest_wait_to_median=max(waits) / median(waits),
        event_loop_p99_ms=late,
        grown_mb=most_mb - idle,
        threads=most_threads,
        files=most_files,
    )
    print(max(waits), median(waits), late, bot.late_ms(1), most_mb - idle, most_threads, most_files)
    assert (lost, doubled) == (0, 0)
    assert ledger(tmp_path / "data") == {"answered": len(asked) + 1}
    assert max(waits) <= 3 * median(waits)
    assert late <= 250
    assert most_mb - idle <= 100
    assert most_threads <= 40


async def talked(discord: FakeDiscord, channels: list[int], flooder: int | None) -> list[float]:
    """Let twenty people say something now and then for ten seconds, and another all the time; return their waits."""
    asked: dict[int, int] = {}
    for turn in range(TURNS):
        for person, channel in enumerate(channels):
            asked[discord.post(channel, f"turn {turn}", person=FIRST_PERSON + person)] = channel
            if flooder is not None:
                for number in range(FLOOD // (TURNS * len(channels))):
                    discord.post(next(FLOODED), f"again {number}", person=flooder)
            await asyncio.sleep(10 / TURNS / len(channels))
    await until(discord, lambda: not counted(discord, asked)[0])
    return [discord.waits(channel)[to] for to, channel in asked.items()]


FIRST_PERSON, FLOODER, FLOOD, TURNS = 200, 300, 500, 5
FLOODED = itertools.cycle(range(0))

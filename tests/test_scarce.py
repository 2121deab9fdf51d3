"""A clock that jumps while the bot runs, and a machine that lets it open few files."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from persona_chat.store.database import default_url
from tests.fakediscord.gateway import Fault
from tests.fakediscord.server import FakeDiscord, listening
from tests.living_bot import LivingBot, counted, ledger, seat_everywhere, until
from tests.torture import count, record

FIRST_PERSON = 200
AHEAD, BACK = signal.SIGUSR1, signal.SIGUSR2
WAYS = ((AHEAD, BACK), (BACK, AHEAD))


@asynccontextmanager
async def living(data_dir: Path, discord: FakeDiscord, **how: Any) -> AsyncIterator[LivingBot]:
    seat_everywhere(default_url(data_dir), discord)
    async with listening(discord) as port:
        bot = LivingBot(port, data_dir, **how)
        await bot.start()
        try:
            await until(discord, lambda: discord.gateway.connected)
            yield bot
            await bot.stop()
        except BaseException:
            await bot.kill()
            raise
    assert not discord.unknown, discord.unknown


@pytest.mark.timeout(300)
@pytest.mark.parametrize("jumps", WAYS[: count(1, 2)])
async def test_a_clock_that_jumps_stops_nobody(tmp_path: Path, jumps: tuple[signal.Signals, signal.Signals]) -> None:
    """C7. An hour ahead and back again, or back and ahead; after each jump the connection breaks once as well.

    The limits are on: people are answered as often in a minute as ever, and who said too much may talk again when
    Discord's minute is over.
    """
    discord = FakeDiscord(4)
    asked: dict[int, int] = {}

    async def all_say(word: str) -> None:
        posted = {discord.post(one, word, person=FIRST_PERSON + one): one for one in discord.channels}
        asked.update(posted)
        await until(discord, lambda: not counted(discord, posted)[0])

    settings = {"PERSON_PER_MINUTE": "20", "CHANNEL_PER_MINUTE": "90", "BURST_S": "0.5"}
    async with living(tmp_path / "data", discord, shifting_clock=True, settings=settings) as bot:
        await all_say("before")
        await asyncio.sleep(1.5)  # for it to be kept up to where it was heard
        for jump in jumps[: count(1, 2)]:
            bot.tell(jump)
            await all_say("after the jump")
            await discord.gateway.lose(Fault.TIMED_OUT)
            await until(discord, lambda: not discord.gateway.connected)
            await all_say("while it was away")
            await all_say("when it was back")
    lost, doubled = counted(discord, asked)
    record(f"C7 {'ahead' if jumps[0] is AHEAD else 'back'}", messages=len(asked), lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert ledger(tmp_path / "data") == {"answered": len(asked)}


@pytest.mark.timeout(300)
async def test_with_few_files_all_are_answered(tmp_path: Path) -> None:
    """C7. RLIMIT_NOFILE=64, and more channels at once than that."""
    discord = FakeDiscord(count(80, 200))
    asked: dict[int, int] = {}
    async with living(tmp_path / "data", discord, files=64) as bot:
        for number in range(2):
            asked |= {discord.post(channel, f"message {number}"): channel for channel in discord.channels}
        most = 0
        async with asyncio.timeout(120):
            while counted(discord, asked)[0]:
                most = max(most, bot.process.num_fds())
                await asyncio.sleep(0.05)
    lost, doubled = counted(discord, asked)
    record("C7 with 64 files", messages=len(asked), lost=lost, doubled=doubled, files=most)
    assert (lost, doubled) == (0, 0)
    assert ledger(tmp_path / "data") == {"answered": len(asked)}

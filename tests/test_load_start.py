"""A bot that is in thousands of channels starts as one that is in one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from persona_chat.inbox import CHANNELS as LOOKED_AT
from persona_chat.store.database import default_url, open_database
from persona_chat.store.tables import ANSWERED, Marks, Messages
from tests.fakediscord.server import GUEST, FakeDiscord, listening
from tests.living_bot import LivingBot, seat_everywhere, until
from tests.torture import count, record

CHANNELS, GUILDS = count(500, 5000), count(10, 50)


def everybody_talked(data_dir: Path, discord: FakeDiscord) -> None:
    """As if somebody had talked in every channel this week, the last in the last one."""
    said = [(discord.post(channel, "long ago"), channel) for channel in discord.channels]
    rows = [
        {
            "message_id": message,
            "channel_id": channel,
            "speaker_id": GUEST,
            "speaker_name": "guest",
            "text": "long ago",
            "state": ANSWERED,
            "claimed_at": datetime.now(UTC),
            "shown": 0,
        }
        for message, channel in said
    ]
    engine = open_database(default_url(data_dir))
    with engine.begin() as connection:
        connection.execute(insert(Messages), rows)
        connection.execute(insert(Marks), [{"channel_id": at, "message_id": upto} for upto, at in said])
    engine.dispose()


async def started(data_dir: Path, discord: FakeDiscord) -> tuple[float, float]:
    """Start the bot there; return how many seconds it was until it had caught up, and its memory after that, in MB.

    It has when what was said while it was away in the channel where it looks last is answered.
    """
    seat_everywhere(default_url(data_dir), discord)
    everybody_talked(data_dir, discord)
    last = discord.channels[-LOOKED_AT:][0]
    async with listening(discord) as port:
        bot = LivingBot(port, data_dir)
        missed = discord.post(last, "is anybody there?")
        await bot.start()
        try:
            await until(discord, lambda: missed in discord.waits(last))
            here = discord.post(discord.channels[0], "and here?")
            await until(discord, lambda: here in discord.waits(discord.channels[0]))
            rss_mb = bot.rss_mb
            await bot.stop()
        except BaseException:
            await bot.kill()
            raise
    assert not discord.unknown, discord.unknown
    return discord.waits(last)[missed], rss_mb


@pytest.mark.timeout(300)
async def test_thousands_of_idle_channels_cost_little(tmp_path: Path) -> None:
    """E3. From the process' beginning, and so with all that is imported and the two seconds that discord.py waits."""
    _, one_mb = await started(tmp_path / "one", FakeDiscord())
    seconds, many_mb = await started(tmp_path / "many", FakeDiscord(CHANNELS, GUILDS))
    record("E3", channels=CHANNELS, guilds=GUILDS, seconds_to_caught_up=seconds, more_mb=many_mb - one_mb)
    assert seconds <= 20
    assert many_mb - one_mb <= 150

"""A bot that is in thousands of channels starts as one that is in one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from persona_chat.inbox import CHANNELS as LOOKED_AT
from persona_chat.settings import Settings
from persona_chat.store.database import open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from persona_chat.store.tables import ANSWERED, Messages
from tests.fakediscord.server import EPOCH_MS, GUEST, FakeDiscord
from tests.living_bot import living, until
from tests.postgres import kind_of, only_whole_on_a_server
from tests.torture import count, record

CHANNELS, GUILDS = count(500, 5000), count(10, 50)


def everybody_talked(url: str, discord: FakeDiscord) -> None:
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
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(insert(Messages), rows)
    store = Store(engine)
    store.inbox.mark({channel: message for message, channel in said})
    store.close()


async def started(data_dir: Path, url: str, discord: FakeDiscord) -> tuple[float, float]:
    """Start the bot there; return how many seconds it was until it had caught up, and its memory after that, in MB.

    It has when what was said while it was away in the channel where it looks last is answered.
    """
    upgrade(url)
    everybody_talked(url, discord)
    last = discord.channels[-LOOKED_AT:][0]
    missed = discord.post(last, "is anybody there?")
    async with living(data_dir, discord, url=url) as bot:
        await until(discord, lambda: missed in discord.waits(last))
        here = discord.post(discord.channels[0], "and here?")
        await until(discord, lambda: here in discord.waits(discord.channels[0]))
        rss_mb = bot.rss_mb
    answered_at = (missed >> 22) / 1000 + EPOCH_MS / 1000 + discord.waits(last)[missed]
    return answered_at - bot.began_at, rss_mb


@pytest.mark.both_databases
@pytest.mark.timeout(300)
async def test_thousands_of_idle_channels_cost_little(settings: Settings, database_url: str) -> None:
    """E3. From the process' beginning, and so with all that is imported and the two seconds that discord.py waits."""
    only_whole_on_a_server(database_url)
    _, one_mb = await started(settings.data_dir, database_url, FakeDiscord())
    seconds, many_mb = await started(settings.data_dir, database_url, FakeDiscord(CHANNELS, GUILDS))
    database = kind_of(database_url)
    figures = {"seconds_to_caught_up": seconds, "more_mb": many_mb - one_mb}
    record("E3", database=database, channels=CHANNELS, guilds=GUILDS, **figures)
    assert seconds <= 20
    assert many_mb - one_mb <= 150

"""A clock that jumps while the bot runs or is down, and a machine that lets it open few files."""

import asyncio
import signal

import pytest

from persona_chat.inbox import EXPIRED
from persona_chat.settings import Settings
from tests.fakediscord.gateway import Fault
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import counted, ledger, living, until
from tests.postgres import kind_of, only_whole_on_a_server
from tests.torture import count, record

FIRST_PERSON = 200
LIMITS = {"PERSON_PER_MINUTE": "20", "CHANNEL_PER_MINUTE": "90", "SERVER_PER_MINUTE": "300"}
AHEAD, BACK = signal.SIGUSR1, signal.SIGUSR2
WAYS = ((AHEAD, BACK), (BACK, AHEAD))


@pytest.mark.both_databases
@pytest.mark.timeout(300)
@pytest.mark.parametrize("jumps", WAYS[: count(1, 2)])
async def test_a_clock_that_jumps_stops_nobody(
    settings: Settings, database_url: str, jumps: tuple[signal.Signals, signal.Signals]
) -> None:
    """C7. An hour ahead and back again, or back and ahead; after each jump the connection breaks once as well.

    The limits are on: people are answered as often in a minute as ever, and who said too much may talk again when
    Discord's minute is over.
    """
    only_whole_on_a_server(database_url)
    discord = FakeDiscord(4)
    asked: dict[int, int] = {}

    async def all_say(word: str) -> None:
        posted = {discord.post(one, word, person=FIRST_PERSON + one): one for one in discord.channels}
        asked.update(posted)
        await until(discord, lambda: not counted(discord, posted)[0])

    limits = LIMITS | {"BURST_S": "0.5"}
    async with living(settings.data_dir, discord, url=database_url, shifting_clock=True, settings=limits) as bot:
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
    which, database = f"C7 {'ahead' if jumps[0] is AHEAD else 'back'}", kind_of(database_url)
    record(which, database=database, messages=len(asked), lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    assert ledger(database_url) == {"answered": len(asked)}


HOUR_S = 3600
CLOCKS = {0: "right", HOUR_S: "an hour ahead", -HOUR_S: "an hour behind"}
JUMPS_S = ((0, HOUR_S), (0, -HOUR_S), (HOUR_S, 0), (-HOUR_S, 0))
TOO_OLD_S = 660.0


@pytest.mark.both_databases
@pytest.mark.parametrize(("before_s", "after_s"), JUMPS_S[: count(1, 4)])
async def test_a_clock_that_jumps_while_the_bot_is_down_costs_no_answer(
    settings: Settings, database_url: str, before_s: int, after_s: int
) -> None:
    """C7. An hour ahead or back, from a clock that was right or to one: nothing is older for it, or younger.

    What was begun when the bot was killed is answered, and what was said while it was down, unless that is more than
    ten minutes old at Discord.
    """
    only_whole_on_a_server(database_url)
    discord = FakeDiscord(5)
    *channels, quiet = discord.channels
    asked: dict[int, int] = {}

    def all_say(word: str) -> None:
        asked.update({discord.post(one, word, person=FIRST_PERSON + one): one for one in channels})

    def answered() -> bool:
        return not counted(discord, asked)[0]

    async def claimed(messages: int) -> None:
        async with asyncio.timeout(10):
            while ledger(database_url).get("claimed", 0) < messages:  # noqa: ASYNC110  it runs in another process
                await asyncio.sleep(0.02)

    clock = ("--delay-s", "0.3", "--shifting-clock", "--ahead-s")
    now = (*clock, str(before_s))
    async with living(settings.data_dir, discord, *now, url=database_url, settings=LIMITS) as bot:
        all_say("hello")
        await until(discord, answered)
        await asyncio.sleep(1.5)  # for it to be kept up to where it was heard
        all_say("as it dies")
        discord.post(quiet, "long ago", ago_s=TOO_OLD_S)
        await claimed(len(discord.channels))
        await bot.kill()
        assert ledger(database_url)["claimed"] == len(discord.channels)
        all_say("while it is down")
        discord.post(quiet, "long ago too", ago_s=TOO_OLD_S)
        await bot.start(*clock, str(after_s))
        await until(discord, answered)
        all_say("when it is back")
        await until(discord, answered)
    lost, doubled = counted(discord, asked)
    late = len(discord.replies(quiet))
    clocks, database = f"{CLOCKS[before_s]}, then {CLOCKS[after_s]}", kind_of(database_url)
    record(
        f"C7 down, clock {clocks}",
        database=database,
        messages=len(asked),
        lost=lost,
        doubled=doubled,
        answered_too_late=late,
    )
    assert (lost, doubled, late) == (0, 0, 0)
    assert ledger(database_url) == {"answered": len(asked), EXPIRED: 1}


@pytest.mark.both_databases
@pytest.mark.timeout(300)
async def test_with_few_files_all_are_answered(settings: Settings, database_url: str) -> None:
    """C7. RLIMIT_NOFILE=64, and more channels at once than that."""
    only_whole_on_a_server(database_url)
    discord = FakeDiscord(count(80, 200))
    asked: dict[int, int] = {}
    async with living(settings.data_dir, discord, url=database_url, files=64) as bot:
        for number in range(2):
            asked |= {discord.post(channel, f"message {number}"): channel for channel in discord.channels}
        most = 0
        async with asyncio.timeout(120):
            while counted(discord, asked)[0]:
                most = max(most, bot.process.num_fds())
                await asyncio.sleep(0.05)
    lost, doubled = counted(discord, asked)
    database = kind_of(database_url)
    record("C7 with 64 files", database=database, messages=len(asked), lost=lost, doubled=doubled, files=most)
    assert (lost, doubled) == (0, 0)
    assert ledger(database_url) == {"answered": len(asked)}

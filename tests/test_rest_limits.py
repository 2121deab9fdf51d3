"""Discord's refusals: rate limits are kept, refused requests not made for ever, and a refused token ends the bot."""

import asyncio
import random
import types
from pathlib import Path

import discord
import pytest

from bot import meanwhile, outgoing
from persona_chat.errors import TokenRejected
from persona_chat.settings import Settings
from tests.fakediscord.bot_here import Here, bot_here
from tests.fakediscord.server import FakeDiscord
from tests.postgres import kind_of, only_whole_on_a_server
from tests.torture import count, record

SENDS = r"POST channels/\d+/messages$"
ANYTHING = r"channels/\d+"
SEED = 7


async def limited(data_dir: Path, monkeypatch: pytest.MonkeyPatch, url: str | None = None) -> tuple[Here, int, int]:
    """Messages while Discord limits us again and again, in some order of three kinds of limits."""
    routes, everywhere, shared = count(12, 50), count(3, 10), count(3, 10)
    chance = random.Random(SEED)
    there = FakeDiscord(10)
    kinds = [{}] * routes + [{"everywhere": True}] * everywhere + [{"shared": True}] * shared
    chance.shuffle(kinds)
    for kind in kinds:
        there.faults.plan(SENDS, 429, retry_after=round(chance.uniform(0.1, 0.5), 3), **kind)
    async with bot_here(there, data_dir, monkeypatch, url=url) as here:
        for number in range(2 * len(kinds)):
            here.say(there.channels[number % 10], f"message {number}")
        await here.until_answered(120)
        return here, *here.counted()


@pytest.mark.both_databases
async def test_rate_limits_are_kept_and_lose_nothing(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_whole_on_a_server(database_url)
    here, lost, doubled = await limited(settings.data_dir, monkeypatch, database_url)
    database, faults = kind_of(database_url), here.discord.faults
    limits, early = faults.hits[429], len(faults.early)
    record(
        "A1", database=database, limits=limits, messages=len(here.asked), lost=lost, doubled=doubled, too_early=early
    )
    assert (lost, doubled) == (0, 0)
    assert faults.hits[429] == count(18, 70)
    assert not faults.early
    for channel in here.discord.channels:
        answered = [to for to, _ in here.discord.replies(channel)]
        assert answered == [message for where, message in here.asked if where == channel]


async def test_without_our_part_of_the_global_limit_that_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing.Outgoing, "_limited_for", lambda *_given: None)
    here, _lost, _doubled = await limited(tmp_path / "data", monkeypatch)
    assert here.discord.faults.early


async def test_a_bot_that_did_not_wait_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(_seconds: float) -> None:
        return None

    hasty = types.SimpleNamespace(**vars(asyncio) | {"sleep": no_wait})
    monkeypatch.setattr(discord.http, "asyncio", hasty)
    here, _lost, _doubled = await limited(tmp_path / "data", monkeypatch)
    assert here.discord.faults.early


async def refused(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, channels: int, messages: int, url: str | None = None
) -> tuple[FakeDiscord, dict[str, int]]:
    """Messages in channels that refuse everything, and how many of our requests each of them refused."""
    there = FakeDiscord(channels)
    there.faults.plan(ANYTHING, 403, times=10**6, code=50013)
    async with bot_here(there, data_dir, monkeypatch, url=url) as here:
        for number in range(messages):
            for channel in there.channels:
                here.say(channel, f"message {number}")
            await here.until_settled()
        by_channel: dict[str, int] = {}
        for asked, times in there.faults.refused.items():
            channel_of = asked.split("/")[1]
            by_channel[channel_of] = by_channel.get(channel_of, 0) + times
        return there, by_channel


@pytest.mark.both_databases
async def test_a_channel_that_refuses_is_left_alone(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_whole_on_a_server(database_url)
    _there, tries = await refused(settings.data_dir, monkeypatch, channels=20, messages=5, url=database_url)
    database, most, least = kind_of(database_url), max(tries.values()), min(tries.values())
    record("A2 in each channel", database=database, channels=len(tries), messages=100, most=most, least=least)
    assert set(tries.values()) == {outgoing.TRIES}
    assert len(tries) == 20


@pytest.mark.both_databases
async def test_refusals_everywhere_stop_before_discord_minds(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_whole_on_a_server(database_url)
    channels = count(200, 200)
    there, tries = await refused(settings.data_dir, monkeypatch, channels, messages=4, url=database_url)
    database, invalid, most = kind_of(database_url), there.faults.most_invalid, max(tries.values())
    record("A2", database=database, channels=channels, messages=4 * channels, invalid=invalid, most_of_a_channel=most)
    assert invalid <= outgoing.INVALID
    assert most <= outgoing.TRIES


@pytest.mark.parametrize("protection", ["TRIES", "INVALID"])
async def test_without_a_limit_of_refusals_that_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protection: str
) -> None:
    monkeypatch.setattr(outgoing, protection, 10**6)
    there, tries = await refused(
        tmp_path / "data", monkeypatch, channels=20 if protection == "TRIES" else 60, messages=4
    )
    assert there.faults.most_invalid > 100 or max(tries.values()) > 3


@pytest.mark.parametrize("forgotten", [True, False], ids=["forgotten", "without that"])
async def test_where_permissions_changed_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: bool
) -> None:
    if not forgotten:
        monkeypatch.setattr(outgoing.Outgoing, "try_again", lambda *_given: None)
    there = FakeDiscord()
    (channel,) = there.channels
    there.faults.plan(ANYTHING, 403, times=outgoing.TRIES, code=50013)
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        for text in ("one", "two", "three"):
            here.say(channel, text)
            await here.until_settled()
        await here.until(lambda: here.bot.outgoing.left_alone(channel))
        assert here.bot.outgoing.left_alone(channel)
        assert not there.replies(channel)
        there.gateway.tell("CHANNEL_UPDATE", there._channel(channel))
        await here.until(lambda: not here.bot.outgoing.left_alone(channel), 30 if forgotten else 0.5)
        last = here.say(channel, "four")
        await here.until(lambda: bool(there.replies(channel)), 30 if forgotten else 0.5)
        said = there.replies(channel)
    which = "A2 permissions changed" if forgotten else "A2 permissions changed without trying again"
    record(which, refused=outgoing.TRIES, answered_afterwards=len(said))
    assert said == ([(last, "heard four")] if forgotten else [])


async def test_after_an_hour_a_channel_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = outgoing.Outgoing()
    for _ in range(outgoing.TRIES):
        gate._refused_by(1)
    assert gate.left_alone(1)
    monkeypatch.setattr(outgoing, "LEFT_ALONE_S", 0.0)
    assert not gate.left_alone(1)


async def test_what_was_not_sent_while_nothing_was_is_sent_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "INVALID", 6)
    monkeypatch.setattr(outgoing, "WINDOW_S", 2.0)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.2)
    there = FakeDiscord(4)
    *refusing, talking = there.channels
    for channel in refusing:
        there.faults.plan(f"POST channels/{channel}/", 403, times=2, code=50013)
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        for channel in refusing:
            here.say(channel)
        await here.until_settled()
        asked = here.say(talking)
        await here.until_settled()
        assert not there.replies(talking)
        await here.until(lambda: bool(there.replies(talking)))
        assert there.replies(talking) == [(asked, "heard hello")]


async def refused_token(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, stops: bool = True
) -> tuple[FakeDiscord, TokenRejected | None]:
    """Messages to a bot whose token Discord does not accept any more, and what the bot ended with in a while."""
    there = FakeDiscord(10)
    there.faults.plan(ANYTHING, 401, times=10**6)
    ended: TokenRejected | None = None
    async with bot_here(there, data_dir, monkeypatch) as here:
        if not stops:
            monkeypatch.setattr(here.bot.outgoing.rejected, "set", lambda: None)
        here.say(there.channels[0])
        try:
            await asyncio.wait_for(here.serving, 30 if stops else 1)
        except TokenRejected as error:
            ended = error
        except TimeoutError:
            pass
    return there, ended


async def test_a_token_that_is_refused_ends_the_bot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there, ended = await refused_token(tmp_path / "data", monkeypatch)
    assert ended is not None
    record("A2 token", invalid=there.faults.most_invalid, exit_code=ended.exit_code)
    assert ended.exit_code == 4  # deploy's unit does not start it again after that
    assert there.faults.most_invalid == 1


async def test_without_the_stop_at_a_refused_token_that_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, ended = await refused_token(tmp_path / "data", monkeypatch, stops=False)
    record("A2 token without stopping", invalid=there.faults.most_invalid)
    assert ended is None
    assert there.faults.most_invalid > 1


@pytest.mark.parametrize("heeded", [True, False])
async def test_an_address_that_is_kept_out_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heeded: bool) -> None:
    """Cloudflare's 429 has no `Via`, and discord.py does not wait for it."""
    if not heeded:
        monkeypatch.setattr(outgoing.Outgoing, "_banned_for", lambda *_given: None)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.2)
    there = FakeDiscord(5)
    there.faults.plan(ANYTHING, 429, retry_after=2, via=False)
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        here.say(there.channels[0])
        await here.until(lambda: there.faults.hits[429] == 1)
        asked = there.faults.asked.total()
        for channel in there.channels:
            here.say(channel)
        await here.until_settled()
        assert (there.faults.asked.total() == asked) is heeded
        await here.until_answered()
        assert here.counted() == (0, 0)


async def test_what_is_not_modelled_is_refused(tmp_path: Path) -> None:
    there = FakeDiscord()
    with pytest.raises(ValueError, match="no fault is known"):
        there.faults.plan(SENDS, 418)
    with pytest.raises(ValueError, match="did not count"):
        there.faults.plan(SENDS, 429, committed=True)

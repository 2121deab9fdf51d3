"""Faults of Discord's servers and of the network: every message is answered once, whether a request counted or not."""

import asyncio
import statistics
import time
import types
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import discord
import pytest

from bot import answering, faces, faults, meanwhile, outgoing
from bot.places import said_at
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.inbox import Inbox
from persona_chat.settings import Settings
from tests.fakediscord.bot_here import Here, bot_here
from tests.fakediscord.server import ME, FakeDiscord
from tests.fakediscord.webhooks import webhook_of
from tests.postgres import kind_of, only_whole_on_a_server
from tests.torture import count, record

IN_A_ROW = 6
NEVER_S = 10**6


def sends(channel: int) -> str:
    return f"POST channels/{channel}/messages$"


def hurry(monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    """Let discord.py's pauses and our own be so many times shorter: they are waits and no work."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / times)

    hurried = types.SimpleNamespace(**vars(asyncio) | {"sleep": sleep})
    monkeypatch.setattr(discord.http, "asyncio", hurried)
    monkeypatch.setattr(discord.webhook.async_, "asyncio", hurried)
    monkeypatch.setattr(faults, "PAUSES_S", tuple(pause_s / times for pause_s in faults.PAUSES_S))


def switch_off(monkeypatch: pytest.MonkeyPatch, protection: str) -> None:
    """Take one protection away, to see that it would be noticed."""
    if protection == "nonce":
        send = faces.Faces.send

        async def unmarked(self: faces.Faces, *given: Any, **more: Any) -> int:
            async def once() -> int:
                return await send(self, *given, **more | {"nonce": None})

            return await faults.again_and_again(once)

        monkeypatch.setattr(faces.Faces, "send", unmarked)
    elif protection == "trying again":
        monkeypatch.setattr(faults, "PAUSES_S", ())
    else:
        monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", NEVER_S)


async def broken(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    statuses: tuple[int, ...],
    each: int,
    within_s: float = 90,
    url: str | None = None,
) -> Here:
    """A message in each of many channels, whose reply is answered with the status again and again, 0 for a reset."""
    kinds = [(status, committed) for status in statuses for committed in (False, True) for _ in range(each)]
    there = FakeDiscord(len(kinds))
    for channel, (status, committed) in zip(there.channels, kinds, strict=True):
        there.faults.plan(sends(channel), status, times=IN_A_ROW if status else 1, committed=committed)
    async with bot_here(there, data_dir, monkeypatch, url=url) as here:
        for channel in there.channels:
            here.say(channel)
        await here.until_answered(within_s)
        await here.until_settled()
        return here


@pytest.mark.both_databases
async def test_faults_of_the_server_lose_nothing_and_double_nothing(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch, count(50, 1))
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", NEVER_S)
    here = await broken(settings.data_dir, monkeypatch, (500, 502, 503, 504), count(4, 20), url=database_url)
    lost, doubled = here.counted()
    database, faults = kind_of(database_url), here.discord.faults.hits.total()
    record("A3", database=database, faults=faults, messages=len(here.asked), lost=lost, doubled=doubled)
    assert (lost, doubled) == (0, 0)
    for channel, message in here.asked:
        nonces = [said.get("nonce") for asked, said in here.discord.faults.said if asked == sends(channel)[:-1]]
        assert nonces == [f"{message}.0"] * (IN_A_ROW + 1)


@pytest.mark.parametrize("protection", ["nonce", "trying again"][: count(1, 2)])
async def test_without_a_protection_from_the_server_that_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protection: str
) -> None:
    hurry(monkeypatch, 50)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", NEVER_S)
    switch_off(monkeypatch, protection)
    here = await broken(tmp_path / "data", monkeypatch, (503,), 5, within_s=3)
    assert here.counted() != (0, 0)


@pytest.mark.both_databases
@pytest.mark.parametrize("looked", [True, False][: count(1, 2)])
async def test_what_failed_too_often_is_sent_while_the_bot_runs(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    hurry(monkeypatch, 50)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.2 if looked else NEVER_S)
    there = FakeDiscord(6)
    for channel in there.channels:
        there.faults.plan(sends(channel), 503, times=10, committed=channel % 2 == 0)
    async with bot_here(there, settings.data_dir, monkeypatch, url=database_url) as here:
        for channel in there.channels:
            here.say(channel, "first")
            here.say(channel, "second")
        await here.until_answered(15 if looked else 2)
        assert (here.counted() == (0, 0)) is looked
        for channel in there.channels if looked else ():
            assert [words for _, words in there.replies(channel)] in (
                ["heard first", "heard second"],
                ["heard second", "heard first"],  # what waited for Discord does not keep the next one waiting
            )


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_draft_that_came_and_was_not_known_becomes_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed: bool
) -> None:
    """Discord gives back the message that it took with that nonce, which says what the draft said."""
    hurry(monkeypatch, 50)
    if not noticed:
        monkeypatch.setattr(discord.Message, "edit", _nothing)
    there = FakeDiscord()
    (channel,) = there.channels
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        message = here.discord.post(channel, "hello")
        shown = await here.bot.get_channel(channel).fetch_message(message)  # type: ignore[union-attr]
        there.faults.plan(sends(channel), 503, times=1, committed=True)
        persona = (await here.bot.chat.cast.seated(said_at(shown))).persona  # type: ignore[union-attr]
        say = here.bot.faces.send
        monkeypatch.setattr(faults, "PAUSES_S", ())
        with pytest.raises(discord.DiscordServerError):
            await say(shown.channel, "heard …", persona, asked=shown, nonce=f"{message}.0")
        await say(shown.channel, "heard hello", persona, asked=shown, nonce=f"{message}.0")
        words = [one for to, one in there.replies(channel) if to == message]
        assert ("heard hello" in words) is noticed


@pytest.mark.both_databases
async def test_connections_that_break_and_hang_lose_nothing(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_whole_on_a_server(database_url)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.5)
    monkeypatch.setattr(outgoing, "ANSWER_S", count(1, int(outgoing.ANSWER_S)))
    resets, hangs = count(10, 100), count(2, 5)
    there = FakeDiscord(resets + hangs + 10)
    others, broken_, hanging = there.channels[:10], there.channels[10 : resets + 10], there.channels[resets + 10 :]
    engine = ScriptedEngine(lambda request: f"heard {request.dialogue[-1].text}", delay_s=0.1)
    async with bot_here(there, settings.data_dir, monkeypatch, engine, url=database_url) as here:
        for channel in (*hanging, *broken_):
            here.say(channel)
        calm = await latencies(here, others, count(4, 20))
        await here.until_answered()
        for number, channel in enumerate(broken_):
            there.faults.plan(sends(channel), 0, committed=number % 2 == 0)
        for channel in hanging:
            there.faults.plan(sends(channel), 0, hang_s=120)
        began = time.monotonic()
        for channel in (*hanging, *broken_):
            here.say(channel)
        meanwhile_s = await latencies(here, others, count(4, 20))
        await here.until_answered(90)
        whole_s = time.monotonic() - began
        await here.until_settled()
        lost, doubled = here.counted()
        others_p95 = meanwhile_s / calm
        record(
            "A4",
            database=kind_of(database_url),
            resets=resets,
            hangs=hangs,
            lost=lost,
            doubled=doubled,
            seconds=whole_s,
            others_p95_times=others_p95,
        )
        assert (lost, doubled) == (0, 0)
        assert outgoing.ANSWER_S - 1.5 < whole_s < outgoing.ANSWER_S + 20
        assert others_p95 < count(6, 2)  # few samples beside other tests say little


@pytest.mark.both_databases
@pytest.mark.parametrize("looked", [True, False][: count(1, 2)])
async def test_what_a_webhook_says_is_neither_lost_nor_said_twice(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch, looked: bool
) -> None:
    """A webhook's message has no nonce: the channel shows whether it came."""
    only_whole_on_a_server(database_url)
    hurry(monkeypatch, 50)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.2 if looked else NEVER_S)
    each = count(3, 20)
    kinds = [(status, committed) for status in (0, 503) for committed in (False, True) for _ in range(each)]
    there = FakeDiscord(len(kinds))
    for channel, (status, committed) in zip(there.channels, kinds, strict=True):
        webhook = int(webhook_of(str(channel), ME)["id"])
        there.faults.plan(f"POST webhooks/{webhook}/", status, times=IN_A_ROW if status else 1, committed=committed)
    async with bot_here(there, settings.data_dir, monkeypatch, url=database_url, webhooks=True) as here:
        for channel in there.channels:
            here.say(channel, f"said in {channel}")
        everywhere = lambda: all(said_by_webhooks(there, channel) for channel in there.channels)  # noqa: E731
        await here.until(everywhere, 20 if looked else 2)
        await here.until_settled()
        await here.until(lambda: not here.bot.chat.inbox._again, 5 if looked else 0)
        said = [said_by_webhooks(there, channel) for channel in there.channels]
    lost, doubled = sum(not one for one in said), sum(max(0, len(one) - 1) for one in said)
    if looked:
        database, hits = kind_of(database_url), there.faults.hits.total()
        record("A4 webhooks", database=database, faults=hits, messages=len(said), lost=lost, doubled=doubled)
    assert doubled == 0
    assert (lost == 0) is looked


@pytest.mark.parametrize("noted", [True, False][: count(1, 2)])
async def test_the_same_words_to_somebody_else_are_not_taken_for_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.2)
    if not noted:
        monkeypatch.setattr(Inbox, "noted", _nothing_noted)
    there = FakeDiscord()
    (channel,) = there.channels
    engine = ScriptedEngine(lambda _asked: "Yes.", delay_s=0.2)
    async with bot_here(there, tmp_path / "data", monkeypatch, engine, webhooks=True) as here:
        here.say(channel, "first")
        here.say(channel, "second")
        await here.until(lambda: len(said_by_webhooks(there, channel)) == 1)
        there.faults.plan("POST webhooks/", 0)
        await here.until_settled()
        await here.until(lambda: len(said_by_webhooks(there, channel)) == 2, 20 if noted else 2)
        assert len(said_by_webhooks(there, channel)) == (2 if noted else 1)


async def _nothing_noted(*_given: object) -> set[int]:
    return set()


def said_by_webhooks(there: FakeDiscord, channel: int) -> list[str]:
    return [one["content"] for one in there.messages[channel].values() if "webhook_id" in one]


async def latencies(here: Here, channels: list[int], rounds: int) -> float:
    """Return the 95th percentile of the seconds to a reply, in these channels."""
    took: list[float] = []

    async def ask(channel: int) -> None:
        for _ in range(rounds):
            began, message = time.monotonic(), here.say(channel)
            await here.until(lambda wanted=message: wanted in dict(here.discord.replies(channel)))  # type: ignore[misc]
            took.append(time.monotonic() - began)

    await asyncio.gather(*(ask(channel) for channel in channels))
    return statistics.quantiles(took, n=20)[-1]


@pytest.mark.parametrize("around", ["a request", "discord.py", "nothing"][: count(1, 3)])
async def test_a_time_limit_is_of_a_request_and_not_of_discords_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, around: str
) -> None:
    monkeypatch.setattr(outgoing, "ANSWER_S", NEVER_S if around == "nothing" else 0.5)
    monkeypatch.setattr(meanwhile, "AGAIN_EVERY_S", 0.5)
    if around == "discord.py":
        cut_off(monkeypatch)
    there = FakeDiscord(3)
    limited, hanging, other = there.channels
    there.faults.plan(sends(limited), 429, retry_after=1.5, everywhere=True)
    there.faults.plan(sends(hanging), 0, hang_s=120)
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        here.say(hanging)
        await here.until(lambda: there.faults.hits[0] == 1)
        here.say(limited)
        await here.until(lambda: there.faults.hits[429] == 1)
        here.say(other)
        await here.until_answered(15 if around == "a request" else 3)
        assert (here.counted() == (0, 0)) is (around == "a request")


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the time limit around all that discord.py does to send."""
    again = faults.again_and_again

    async def limited(send: Callable[[], Awaitable[Any]]) -> Any:
        return await again(lambda: asyncio.wait_for(send(), outgoing.ANSWER_S))

    monkeypatch.setattr(faces, "again_and_again", limited)
    monkeypatch.setattr(answering, "again_and_again", limited)


async def _nothing(*_given: object, **_more: object) -> None:
    return None

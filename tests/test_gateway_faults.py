"""Connections to Discord that are lost in every way: what was said meanwhile is answered, and only once."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import discord
import pytest

from bot import identifies
from bot.meanwhile import Meanwhile
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.inbox import Hearing, Inbox
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.fakediscord.bot_here import on_loopback, serving, settings_for
from tests.fakediscord.gateway import Fault
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import seat_everywhere, until, until_quiet
from tests.postgres import kind_of
from tests.torture import count, record

SEED = 11
CHANNELS = 4
SAID_MEANWHILE = 3


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin another session at once, not after five seconds, and as often as need be."""

    async def at_once(*_given: object, **_more: object) -> None:
        return None

    monkeypatch.setattr(discord.Client, "before_identify_hook", at_once)
    monkeypatch.setattr(identifies, "AT_ONCE", 1000)


class Talk:
    """What is said to the bot while its connection is lost again and again."""

    def __init__(self, fake: FakeDiscord, engine: ScriptedEngine) -> None:
        self.fake, self.engine = fake, engine
        self.said: list[int] = []
        self._random = random.Random(SEED)

    def say(self, times: int) -> None:
        for _ in range(times):
            channel = self._random.choice(self.fake.channels)
            self.said.append(self.fake.post(channel, f"message {len(self.said)}"))

    def shuffled(self, cycles: int) -> list[Fault]:
        """So many faults by chance, none much oftener than another."""
        faults = [*Fault] * -(-cycles // len(Fault))
        self._random.shuffle(faults)
        return faults[:cycles]

    async def lose(self, fault: Fault) -> None:
        """Lose the connection, say something meanwhile, and wait until there is another one."""
        gateway = self.fake.gateway
        begun = self.fake.identified + gateway.resumed
        gateway.open.clear()
        await gateway.lose(fault)
        self.say(SAID_MEANWHILE)
        gateway.open.set()
        await until(self.fake, lambda: self.fake.identified + gateway.resumed > begun and gateway.connected == 1)

    @property
    def answered(self) -> Counter[int]:
        return Counter(to for channel in self.fake.channels for to, _ in self.fake.replies(channel))

    async def all_answered(self, patience_s: float = 30) -> None:
        await until(self.fake, lambda: set(self.said) <= self.answered.keys(), patience_s)

    def figures(self) -> dict[str, int]:
        answered = self.answered
        asked = Counter(request.dialogue[-1].text for request in self.engine.requests)
        return {
            "messages": len(self.said),
            "lost": sum(message not in answered for message in self.said),
            "doubled": sum(answered.values()) - len(answered),
            "second_generations": sum(asked.values()) - len(asked),
        }


def _answer(request: ReplyRequest) -> str:
    return f"heard {request.dialogue[-1].text}"


async def lose_again_and_again(
    settings: Settings,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    faults: list[Fault] | int,
    *,
    overlap: int = 0,
    hope_s: float = 30,
) -> tuple[Talk, dict[str, int]]:
    """Lose the connection in these ways, or so many times by chance, and return what came of it."""
    fake = FakeDiscord(CHANNELS)
    fake.gateway.heartbeat_ms = 200
    fake.gateway.overlap = overlap
    fake.answers_after_s = 0
    seat_everywhere(url, fake)
    talk = Talk(fake, ScriptedEngine(_answer, delay_s=0.02))
    faults = talk.shuffled(faults) if isinstance(faults, int) else faults
    settings = settings_for(settings.data_dir, monkeypatch, database_url=url)
    async with on_loopback(fake, talk.engine, monkeypatch, heartbeat_timeout=1.5), serving(settings, fake):
        talk.say(CHANNELS * 2)  # what was said meanwhile is looked for where somebody talked
        await talk.all_answered()
        for fault in faults:
            await talk.lose(fault)
        try:
            await talk.all_answered(hope_s)
        except TimeoutError:
            print(f"seed {SEED}: some were never answered")
        await until_quiet(fake)
    assert not fake.unknown, fake.unknown
    return talk, talk.figures()


@pytest.mark.both_databases
@pytest.mark.timeout(600)
async def test_what_is_said_while_the_connection_is_lost_is_answered_once(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycles = count(len(Fault), 50)
    talk, figures = await lose_again_and_again(settings, database_url, monkeypatch, cycles)
    gateway, database = talk.fake.gateway, kind_of(database_url)
    sessions = len(gateway.identified_at)
    record("A5", database=database, losses=cycles, **figures, resumed=gateway.resumed, sessions=sessions)
    assert (figures["lost"], figures["doubled"], figures["second_generations"]) == (0, 0, 0)
    assert gateway.resumed
    assert sessions > 1


@pytest.mark.both_databases
@pytest.mark.timeout(600)
async def test_events_that_are_told_twice_after_a_resume_are_not_thought_about_twice(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumes = count(8, 50)
    faults = [Fault.TORN] * resumes
    talk, figures = await lose_again_and_again(settings, database_url, monkeypatch, faults, overlap=20)
    told_again, database = talk.fake.gateway.told_again, kind_of(database_url)
    record("A6", database=database, resumes=resumes, events_told_twice=told_again, **figures)
    assert told_again > 10 * resumes
    assert (figures["lost"], figures["doubled"], figures["second_generations"]) == (0, 0, 0)


async def test_without_catching_up_messages_of_a_lost_session_are_lost(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_at_all(*_given: object) -> None:
        return None

    monkeypatch.setattr(Meanwhile, "_catch_up", not_at_all)
    _, figures = await lose_again_and_again(settings, database_url, monkeypatch, [Fault.INVALID], hope_s=3)
    record("A5 without catching up", **figures)
    assert figures["lost"] == SAID_MEANWHILE


@pytest.mark.parametrize("without", [("memory",), ("claim",), ("claim", "memory")], ids=" and ".join)
async def test_either_of_two_protections_keeps_repeated_events_from_the_model(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch, without: tuple[str, ...]
) -> None:
    claim, hearing = Store.claim, Inbox.hearing

    def claims_always(self: Store, *given: Any) -> bool:
        claim(self, *given)
        return True

    @contextmanager
    def always_first(self: Inbox, channel_id: int, message_id: int) -> Iterator[Hearing]:
        self._seen.pop(message_id, None)
        with hearing(self, channel_id, message_id) as heard:
            yield heard

    if "claim" in without:
        monkeypatch.setattr(Store, "claim", claims_always)
    if "memory" in without:
        monkeypatch.setattr(Inbox, "hearing", always_first)
    faults = [Fault.TORN] * 3
    _, figures = await lose_again_and_again(settings, database_url, monkeypatch, faults, overlap=20, hope_s=5)
    record(f"A6 without {' and '.join(without)}", **figures)
    assert bool(figures["second_generations"]) is (len(without) == 2)

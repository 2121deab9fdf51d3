"""Commands while the model has more to do than it can: promised in time, and what comes too late is said elsewhere."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import discord
import pytest

from bot import telling
from bot.demo import Waits
from persona_chat.engine.reply import Follow, Reply, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.database import default_url
from persona_chat.store.store import Store
from tests.discord_world import never_pings, told, world
from tests.fakediscord.bot_here import on_loopback, serving, settings_for
from tests.fakediscord.server import FakeDiscord
from tests.living_bot import seat_everywhere, until, until_quiet
from tests.postgres import kind_of, on_sqlite
from tests.torture import count, record

CHANNELS = 8
A_SECOND = 20
PROMISED_S = 1.5
VERA = Persona("Vera", "I keep a lighthouse.")
COMMANDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("persona test", {"name": "Vera", "message": "Who are you?"}),
    ("chat context", {}),
    ("persona show", {}),
    ("status", {}),
    ("persona set", {"name": "Vera"}),
    ("chat reset", {}),
)


class Busy(ScriptedEngine):
    """Thinks about everything and is never done; its waits are declared to a simulated Discord."""

    def __init__(self, waits: Waits) -> None:
        super().__init__(lambda request: f"heard {request.dialogue[-1].text}")
        self._waits = waits
        self.asked = 0
        self._released: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008  it is frozen
        self.asked += 1
        await self._waits(asyncio.shield(self._released))
        return await super().reply(request, follow)

    def release(self) -> None:
        """Answer all of it now."""
        self._released.set_result(None)


@contextmanager
def spinning() -> Iterator[None]:
    """Have a thread that computes without end inside the block, and lets go of the interpreter only when it must."""
    over = threading.Event()

    def spin() -> None:
        number = 0
        while not over.is_set():
            number = (number * 31 + 7) % 1_000_003

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def waited(
    data_dir: Path, url: str, monkeypatch: pytest.MonkeyPatch, commands: int, patience_s: float = 30
) -> list[float]:
    """Use so many commands while nothing is answered, and return for how long each waited for a first response."""
    fake = FakeDiscord(CHANNELS)
    seat_everywhere(url, fake)
    settings = settings_for(data_dir, monkeypatch, database_url=url)
    engine = Busy(Waits())
    waited_s = fake.interactions.waited_s
    async with on_loopback(fake, engine, monkeypatch), serving(settings, fake):
        for channel in fake.channels:
            fake.post(channel, "a message that is not answered")
        await until(fake, lambda: engine.asked == CHANNELS)
        with spinning():
            for number in range(commands):
                name, options = COMMANDS[number % len(COMMANDS)]
                fake.slash(fake.channels[number % CHANNELS], name, **options)
                await asyncio.sleep(1 / A_SECOND)
            with suppress(TimeoutError):
                await until(fake, lambda: len(waited_s) == commands, patience_s)
        engine.release()
        await until_quiet(fake, 0.5)
    assert not fake.unknown, fake.unknown
    return sorted(waited_s.values())


@pytest.mark.both_databases
@pytest.mark.timeout(180)
async def test_commands_are_promised_in_time_while_the_model_is_busy(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = count(60 if on_sqlite(database_url) else 20, 200)
    waited_s = await waited(settings.data_dir, database_url, monkeypatch, commands)
    database = kind_of(database_url)
    p99, slowest = waited_s[int(commands * 0.99) - 1], waited_s[-1]
    record("A8", database=database, commands=commands, p99_seconds=round(p99, 2), slowest_seconds=round(slowest, 2))
    assert len(waited_s) == commands
    assert p99 <= PROMISED_S


async def test_without_promises_some_would_wait_for_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_at_all(*_given: object, **_more: object) -> None:
        return None

    monkeypatch.setattr(discord.InteractionResponse, "defer", not_at_all)
    url = default_url(tmp_path / "data")
    waited_s = await waited(tmp_path / "data", url, monkeypatch, len(COMMANDS), patience_s=PROMISED_S)
    record("A8 without promises", commands=len(COMMANDS), answered=len(waited_s))
    assert len(waited_s) < len(COMMANDS)


@pytest.mark.parametrize(
    ("minutes", "without", "where"),
    [(13, False, "/messages/@original"), (15, False, "/channels/{channel}/messages"), (15, True, None)],
    ids=["in time", "too late", "too late and not noticed"],
)
async def test_what_comes_after_fourteen_minutes_is_said_in_the_channel(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, minutes: int, without: bool, where: str | None
) -> None:
    if without:
        monkeypatch.setattr(telling, "too_late", lambda _interaction: False)
    waits = Waits()
    engine = Busy(waits)
    async with world(store, settings, engine, settle_timeout=4, waits=waits) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.owner.slash(here.talk, "chat reset")
        await here.env.advance_time(minutes * 60)
        before = len(here.env.http_requests)
        engine.release()
        await here.env.settle()
        said = [line for line in here.said(here.talk) if line.startswith("I put 1 message out of my mind")]
        assert len(said) == (where is not None)
        (path,) = {one.path for one in here.env.http_requests[before:] if "out of my mind" in str(one.json)}
        assert path.endswith((where or "/messages/@original").format(channel=here.talk.id))
        assert never_pings(here.env) == []
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_is_for_one_person_is_not_said_in_the_channel(store: Store, settings: Settings) -> None:
    waits = Waits()
    engine = Busy(waits)
    async with world(store, settings, engine, settle_timeout=4, waits=waits) as here:
        await here.seat(VERA)
        trial = await here.guest.slash(here.talk, "persona test", name="Vera", message="Who are you?")
        await here.env.advance_time(15 * 60)
        engine.release()
        await here.env.settle()
        assert here.said(here.talk) == []
        assert all("heard" not in line.content for line in told(trial))

"""How often the bot begins a session with Discord, and what ends it for good. The clock is the tests' own."""

import asyncio
import errno
import json
import sys
import threading
from functools import partial
from pathlib import Path

import discord
import pytest
import yarl

from bot import identifies, run
from bot.identifies import APART_S, AT_ONCE, DAY_S, LATELY_S, NAME, Identifies
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import DiscordUnreachable, GatewayRefused, IntentMissing, TokenRejected
from tests.fakediscord.bot_here import on_loopback, serving, settings_for
from tests.fakediscord.server import FakeDiscord, listening
from tests.living_bot import until
from tests.torture import record

STARTS = 10
LIVED_S = 3.0
ROOT = Path(__file__).parents[1]


class Clock:
    """A time that moves only when somebody sleeps, or when the test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """One that the bot and discord.py's pause between two sessions go by."""
    clock = Clock()

    async def five_seconds(_self: object, _shard_id: int | None, *, initial: bool = False) -> None:
        await clock.sleep(0 if initial else 5)

    monkeypatch.setattr(discord.Client, "before_identify_hook", five_seconds)
    monkeypatch.setattr(run, "Identifies", partial(Identifies, now=clock, sleep=clock.sleep))
    return clock


def too_close(times: list[float], at_once: int = AT_ONCE) -> int:
    """How many came less than a minute and a half after the one before, after the first five or so many."""
    return sum(later - earlier < APART_S for earlier, later in zip(times[at_once - 1 :], times[at_once:], strict=False))


def hearts() -> int:
    """How many sockets of discord.py's send heartbeats."""
    return sum(isinstance(one, discord.gateway.KeepAliveHandler) for one in threading.enumerate())


async def starts(data_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, kept: bool = True) -> list[float]:
    """Start the bot again and again; each time it dies as soon as it has a session."""
    fake = FakeDiscord()
    fake.gateway.clock = clock
    settings = settings_for(data_dir, monkeypatch)
    for _ in range(STARTS):
        async with on_loopback(fake, ScriptedEngine(lambda _request: "Hi."), monkeypatch), serving(settings, fake):
            clock.now += LIVED_S
        if not kept:
            (data_dir / NAME).unlink()
    return fake.gateway.identified_at


async def test_a_bot_that_dies_at_once_begins_few_sessions(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = await starts(tmp_path / "data", clock, monkeypatch)
    record("A7", starts=len(times), closer_than_90_s_after_five=too_close(times), lasted_s=round(times[-1] - times[0]))
    assert len(times) == STARTS
    assert times[AT_ONCE - 1] - times[0] < 30, "the first five may come at once"
    assert too_close(times) == 0
    said = [one.getMessage() for one in caplog.records if one.name == identifies.__name__]
    assert len(said) == STARTS - AT_ONCE
    assert "the next one is begun in 87 s" in said[0]


async def test_without_the_file_it_would_begin_many(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = await starts(tmp_path / "data", clock, monkeypatch, kept=False)
    record("A7 without the file", starts=len(times), closer_than_90_s_after_five=too_close(times))
    assert too_close(times) == STARTS - AT_ONCE


@pytest.mark.parametrize("shards", [1, 2])
async def test_a_session_that_is_invalid_again_and_again_is_not_begun_again_at_once(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    fake = FakeDiscord()
    fake.gateway.clock = clock
    fake.gateway.refuses_sessions = True
    settings = settings_for(tmp_path / "data", monkeypatch).model_copy(update={"shard_count": shards})
    async with on_loopback(fake, ScriptedEngine(lambda _request: "Hi."), monkeypatch):
        task = asyncio.create_task(run.serve(settings))
        await until(fake, lambda: fake.identified >= STARTS * shards)
        fake.gateway.refuses_sessions = False
        await until(fake, lambda: fake.gateway.connected == shards)
        # Sockets that waited too long are let go of.
        await until(fake, lambda: hearts() == shards)
        task.cancel()
        await asyncio.wait((task,))
    times = fake.gateway.identified_at
    close = too_close(times, AT_ONCE * shards)
    record(f"A7 in one process, {shards} shards", sessions=len(times), closer_than_90_s_after_five_each=close)
    assert close == 0


async def test_a_day_of_starts_does_not_come_near_what_discord_allows(tmp_path: Path) -> None:
    clock = Clock()
    day = [clock.now]
    while day[-1] < day[0] + DAY_S:
        one = Identifies(tmp_path, now=clock, sleep=clock.sleep)
        assert await one.wait()
        await one.count()
        day.append(clock.now)
        clock.now += LIVED_S
    record("A7 for a day", starts=len(day) - 1)
    assert len(day) < 700


async def test_after_a_quiet_run_nobody_waits(tmp_path: Path) -> None:
    clock = Clock()
    one = Identifies(tmp_path, now=clock, sleep=clock.sleep)
    for _ in range(AT_ONCE):
        assert one.wait_s() == 0
        await one.count()
    assert one.wait_s() == APART_S
    clock.now += LATELY_S
    assert one.wait_s() == 0
    assert Identifies(tmp_path, now=clock).wait_s() == 0


async def test_processes_that_share_a_token_share_what_it_allows(tmp_path: Path) -> None:
    clock = Clock()
    one = Identifies(tmp_path, own=2, shards=8, now=clock, sleep=clock.sleep)
    for _ in range(2 * AT_ONCE):
        assert one.wait_s() == 0
        await one.count()
    assert one.wait_s() == APART_S * 4


@pytest.mark.parametrize("written", ["", "{", '"x"', "[1, null]", "[9e99]"])
async def test_a_damaged_file_and_a_clock_that_was_set_back_keep_nobody_waiting(tmp_path: Path, written: str) -> None:
    clock = Clock()
    (tmp_path / NAME).write_text(written)
    one = Identifies(tmp_path, now=clock)
    assert one.wait_s() == 0
    await one.count()
    assert json.loads((tmp_path / NAME).read_text()) == [clock.now]


async def test_a_full_disk_keeps_nobody_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(identifies, "_write", full)
    one = Identifies(tmp_path)
    for _ in range(AT_ONCE):
        await one.count()
    assert "No space left" in caplog.text
    assert one.wait_s() > 0, "as long as the process lives it knows"


FATAL = {4004: TokenRejected, 4010: GatewayRefused, 4011: GatewayRefused, 4012: GatewayRefused}
FATAL |= {4013: GatewayRefused, 4014: IntentMissing}


@pytest.mark.parametrize(("code", "error"), FATAL.items())
async def test_what_discord_refuses_for_good_is_not_tried_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
) -> None:
    fake = FakeDiscord()
    fake.gateway.refuses_with = code
    engine = ScriptedEngine(lambda _request: "Hi.")
    async with on_loopback(fake, engine, monkeypatch):
        with pytest.raises(error):
            await asyncio.wait_for(run.serve(settings_for(tmp_path / "data", monkeypatch)), 20)
    assert fake.identified == 1


@pytest.mark.parametrize(("code", "said"), [(4004, "token"), (4013, "code 4013"), (4014, "Message Content Intent")])
async def test_a_process_that_is_refused_ends_with_its_reason_and_its_code(
    tmp_path: Path, code: int, said: str
) -> None:
    fake = FakeDiscord()
    fake.gateway.refuses_with = code
    async with listening(fake) as port:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.fakediscord.bot_process",
            str(port),
            str(tmp_path / "data"),
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, told = await asyncio.wait_for(process.communicate(), 30)
    record(f"A7 code {code}", identified=fake.identified, exit_code=process.returncode)
    assert said in told.decode().splitlines()[-1]
    assert "Traceback" not in told.decode()
    expected = FATAL[code].exit_code  # type: ignore[attr-defined]
    assert process.returncode == expected
    assert fake.identified == 1


async def test_a_gateway_that_cannot_be_reached_at_the_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeDiscord()
    async with on_loopback(fake, ScriptedEngine(lambda _request: "Hi."), monkeypatch):
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL("ws://127.0.0.1:9/"))
        with pytest.raises(DiscordUnreachable, match="cannot be reached"):
            await asyncio.wait_for(run.serve(settings_for(tmp_path / "data", monkeypatch)), 20)

"""`persona-chat run` in the process of a test, on a Discord of loopback: so that what the engine was asked is seen."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import discord
import pytest
import yarl

from bot import run
from persona_chat.engine.reply import ReplyEngine
from persona_chat.settings import Settings, load_settings
from tests.fakediscord.server import FakeDiscord, listening

PATIENCE_S = 30.0


def settings_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a bot that says everything itself and answers each message by itself, as fast as it can."""
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    return load_settings(
        data_dir=data_dir,
        base="embedded",
        webhooks=False,
        stream=False,
        burst_s=0,
        person_per_minute=0,
        channel_per_minute=0,
        channel_queue=1000,
    )


@asynccontextmanager
async def on_loopback(
    fake: FakeDiscord, engine: ReplyEngine, monkeypatch: pytest.MonkeyPatch, **options: object
) -> AsyncIterator[None]:
    """Lead `run.serve` to the fake inside the block, with that engine. `options` are discord.py's."""
    quick = partial(run.bot_on, guild_ready_timeout=0.1, **options)  # type: ignore[arg-type]
    monkeypatch.setattr(run, "bot_on", quick)
    monkeypatch.setattr(run, "engine_for", lambda _settings, **_more: engine)
    async with listening(fake) as port:
        monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
        gateway = yarl.URL(f"ws://127.0.0.1:{port}/")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
        try:
            yield
        finally:
            _end_heartbeats()


def _end_heartbeats() -> None:
    """discord.py leaves that of a connection on which no session was begun alone, for a minute."""
    for thread in threading.enumerate():
        if isinstance(thread, discord.gateway.KeepAliveHandler):
            thread.stop()


@asynccontextmanager
async def serving(settings: Settings, fake: FakeDiscord) -> AsyncIterator["asyncio.Task[None]"]:
    """The bot inside the block, from when it has a session on."""
    before = fake.gateway.connected
    task = asyncio.create_task(run.serve(settings))
    try:
        await until(fake, lambda: task.done() or fake.gateway.connected > before)
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(fake: FakeDiscord, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until something is so at the fake."""
    async with asyncio.timeout(patience_s):
        while not done():
            fake.changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(fake.changed.wait(), 0.2)


async def until_quiet(fake: FakeDiscord, quiet_s: float = 1.0) -> None:
    """Wait until nothing happens there any more: what comes a second time comes late."""
    with suppress(TimeoutError):
        while True:
            fake.changed.clear()
            await asyncio.wait_for(fake.changed.wait(), quiet_s)

"""`persona-chat run` in this process, on a Discord of loopback and with an engine of the test's: a test sees inside."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import discord
import pytest
import yarl

from bot import run
from bot.client import PersonaBot
from persona_chat.engine.reply import ReplyEngine, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import TokenRejected
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import default_url
from tests.fakediscord.server import FakeDiscord, listening
from tests.living_bot import seat_everywhere, until


def settings_for(data_dir: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Settings:
    """Settings of a bot that says everything itself and answers each message by itself, as fast as it can."""
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    quick: dict[str, Any] = {
        "data_dir": data_dir,
        "base": "embedded",
        "webhooks": False,
        "stream": False,
        "burst_s": 0,
        "person_per_minute": 0,
        "channel_per_minute": 0,
        "server_per_minute": 0,
        "channel_queue": 1000,
    }
    return load_settings(**quick | changes)


@asynccontextmanager
async def on_loopback(
    there: FakeDiscord, engine: ReplyEngine, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[list[PersonaBot]]:
    """Lead `run.serve` to that Discord and engine inside the block, which has each bot so made. `options` are its."""
    made: list[PersonaBot] = []
    bot_on = run.bot_on

    def noted(*given: Any, **more: Any) -> PersonaBot:
        made.append(bot_on(*given, guild_ready_timeout=0.1, **options, **more))
        return made[-1]

    async with listening(there) as port:
        with monkeypatch.context() as patched:
            patched.setattr(run, "bot_on", noted)
            patched.setattr(run, "engine_for", lambda _settings, **_more: engine)
            patched.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
            gateway = yarl.URL(f"ws://127.0.0.1:{port}/")
            patched.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", gateway)
            try:
                yield made
            finally:
                _end_heartbeats()


def _end_heartbeats() -> None:
    """discord.py leaves that of a connection on which no session was begun alone, for a minute."""
    for thread in threading.enumerate():
        if isinstance(thread, discord.gateway.KeepAliveHandler):
            thread.stop()


@asynccontextmanager
async def serving(settings: Settings, there: FakeDiscord) -> AsyncIterator["asyncio.Task[None]"]:
    """The bot inside the block, from when it has a session on."""
    before = there.gateway.connected
    task = asyncio.create_task(run.serve(settings))
    try:
        await until(there, lambda: task.done() or there.gateway.connected > before, 30)
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class Here:
    """The bot, its Discord, and what people asked: the channel and the id of each message."""

    discord: FakeDiscord
    bot: PersonaBot
    serving: asyncio.Task[None]
    asked: list[tuple[int, int]] = field(default_factory=list)

    def say(self, channel: int, text: str = "hello") -> int:
        message = self.discord.post(channel, text)
        self.asked.append((channel, message))
        return message

    async def until_settled(self) -> None:
        """Wait until every message was heard, and has its answer or none."""
        seen = self.bot.chat.inbox._seen
        await self.until(lambda: all(message in seen for _, message in self.asked))
        await self.bot.drain.settled(60)

    def counted(self) -> tuple[int, int]:
        """How many messages have no answer, and how many answers are one too many."""
        answers = [to for channel in self.discord.channels for to, _ in self.discord.replies(channel)]
        return sum(message not in answers for _, message in self.asked), len(answers) - len(set(answers))

    async def until(self, done: Callable[[], bool], within_s: float = 30) -> None:
        """Wait until something is so, or for so long: what comes of that is for the test to say."""
        with suppress(TimeoutError):
            await until(self.discord, done, within_s)

    async def until_answered(self, within_s: float = 30) -> None:
        await self.until(lambda: self.counted()[0] == 0, within_s)


@asynccontextmanager
async def bot_here(
    there: FakeDiscord,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: ReplyEngine | None = None,
    *,
    url: str | None = None,
    **changes: Any,
) -> AsyncIterator[Here]:
    """The bot inside the block, which has a persona in every channel; it is ended at the end.

    `url` is its database, without it SQLite's in the data folder; `changes` are settings.
    """
    url = url or default_url(data_dir)
    seat_everywhere(url, there)
    engine = engine or ScriptedEngine(_answer)
    monkeypatch.setattr(run, "GRACE_S", 0.5)  # where a test shows what hangs without a protection
    settings = settings_for(data_dir, monkeypatch, **{"stream": True, "database_url": url} | changes)
    async with on_loopback(there, engine, monkeypatch) as made:
        with suppress(TokenRejected):  # a test of that looks at `serving`
            async with serving(settings, there) as task:
                await until(there, lambda: task.done() or (bool(made) and made[-1].is_ready()), 30)
                if task.done():
                    task.result()
                yield Here(there, made[-1], task)
    assert not there.unknown, there.unknown


def _answer(request: ReplyRequest) -> str:
    return f"heard {request.dialogue[-1].text}"

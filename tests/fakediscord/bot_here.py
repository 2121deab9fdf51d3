"""`persona-chat run` in this process, on a Discord of loopback and a scripted engine: a test sees inside."""

import asyncio
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
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.fakediscord.server import GUILD, FakeDiscord, listening

NO_LIMITS = {
    "BURST_S": "0",
    "PERSON_PER_MINUTE": "0",
    "CHANNEL_PER_MINUTE": "0",
    "BASE": "embedded",
}


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
            async with asyncio.timeout(within_s):
                while not done():
                    self.discord.changed.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.discord.changed.wait(), 0.1)

    async def until_answered(self, within_s: float = 30) -> None:
        await self.until(lambda: self.counted()[0] == 0, within_s)


def seat_everywhere(data_dir: Path, channels: list[int]) -> None:
    url = default_url(data_dir)
    upgrade(url)
    store = Store(open_database(url))
    for channel in channels:
        home, persona = Spot(Scope.SERVER, GUILD), Persona("Vera", "I keep a lighthouse.")
        store.seating.put(Spot(Scope.CHANNEL, channel), home, persona)
    store.close()


@asynccontextmanager
async def bot_here(
    there: FakeDiscord,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: ScriptedEngine | None = None,
    *,
    webhooks: bool = False,
) -> AsyncIterator[Here]:
    """The bot inside the block, which has a persona in every channel; it is ended at the end."""
    seat_everywhere(data_dir, there.channels)
    made: list[PersonaBot] = []
    bot_on = run.bot_on

    def noted(*given: Any, **more: Any) -> PersonaBot:
        made.append(bot_on(*given, guild_ready_timeout=0.1, **more))
        return made[0]

    monkeypatch.setattr(run, "bot_on", noted)
    engine = engine or ScriptedEngine(lambda request: f"heard {request.dialogue[-1].text}")
    monkeypatch.setattr(run, "GRACE_S", 0.5)  # where a test shows what hangs without a protection
    monkeypatch.setattr(run, "engine_for", lambda _settings, **_more: engine)
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    for name, value in NO_LIMITS.items():
        monkeypatch.setenv(f"PERSONA_CHAT_{name}", value)
    monkeypatch.setenv("PERSONA_CHAT_WEBHOOKS", str(webhooks))
    async with listening(there) as port:
        monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
        monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(f"ws://127.0.0.1:{port}/"))
        serving = asyncio.create_task(run.serve(load_settings(data_dir=data_dir)))
        try:
            async with asyncio.timeout(30):
                while not (made and made[0].is_ready()):
                    if serving.done():
                        serving.result()
                    await asyncio.sleep(0.02)
            yield Here(there, made[0], serving)
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await serving
    assert not there.unknown, there.unknown

"""As much of Discord as `persona-chat run` needs to log in, connect, and be told one thing; on a port of loopback."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
import yarl
from aiohttp import web

from tests.fakediscord.server import APPLICATION, answer
from tests.fakediscord.server import ME as BOT

CHANNEL = 5000
READY = {
    "v": 10,
    "user": BOT,
    "session_id": "s",
    "resume_gateway_url": "ws://127.0.0.1:9",
    "guilds": [],
    "application": {"id": "1000", "flags": 1 << 19},
}
DIRECT_MESSAGE = {
    "id": "7001",
    "type": 0,
    "channel_id": str(CHANNEL),
    "content": "Hello! Who are you?",
    "author": {"id": "42", "username": "guest", "discriminator": "0", "avatar": None},
    "timestamp": "2026-01-01T00:00:00+00:00",
    "edited_timestamp": None,
    "tts": False,
    "mention_everyone": False,
    "mentions": [],
    "mention_roles": [],
    "attachments": [],
    "embeds": [],
    "pinned": False,
}
CONTENT_FLAG = 1 << 19  # what an application in few servers gets for Message Content


class LoginDiscord:
    """As much of Discord as logging in, connecting and one direct message take."""

    def __init__(self) -> None:
        self.status = 200
        self.flags = CONTENT_FLAG
        self.refuse_with: int | None = None
        self.shards: list[list[int]] = []
        self.asked: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.identified = asyncio.Event()
        self.answered = asyncio.Event()

    async def gateway(self, request: web.Request) -> web.WebSocketResponse:
        """Greet, take the IDENTIFY, and either close as Discord does or say READY and one message."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "d": {"heartbeat_interval": 41250}})
        async for frame in socket:
            if frame.json()["op"] == 2:
                shard = frame.json()["d"].get("shard")
                self.shards += [shard] if shard is not None else []
                self.identified.set()
                if self.refuse_with is not None:
                    await socket.close(code=self.refuse_with)
                    break
                await socket.send_json({"op": 0, "s": 1, "t": "READY", "d": READY | {"shard": shard}})
                await socket.send_json({"op": 0, "s": 2, "t": "MESSAGE_CREATE", "d": DIRECT_MESSAGE})
            elif frame.json()["op"] == 1:
                await socket.send_json({"op": 11})
        return socket

    async def answer(self, request: web.Request) -> web.Response:
        """Answer any request."""
        self.asked.append(request.path)
        if self.status != 200:
            return answer({"message": "401: Unauthorized", "code": 0}, self.status)
        if request.path.endswith("/users/@me"):
            return answer(BOT)
        if request.path.endswith("/oauth2/applications/@me"):
            return answer({**APPLICATION, "flags": self.flags})
        if request.path.endswith(f"/channels/{CHANNEL}/messages"):
            self.sent.append(await request.json())
            self.answered.set()
            return answer({**DIRECT_MESSAGE, "id": "7002", "content": "sent", "author": BOT})
        return answer([])


@pytest.fixture
async def login_discord(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoginDiscord]:
    there = LoginDiscord()
    app = web.Application()
    app.router.add_get("/", there.gateway)
    app.router.add_route("*", "/{path:.*}", there.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")
    monkeypatch.setattr(discord.gateway.DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(f"ws://127.0.0.1:{port}/"))
    yield there
    await runner.cleanup()

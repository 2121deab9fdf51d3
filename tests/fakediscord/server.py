"""The server: guilds with channels, and their messages. What it does not know is noted and refused."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.fakediscord.faults import Faults
from tests.fakediscord.gateway import Gateway
from tests.fakediscord.interactions import Interactions
from tests.fakediscord.webhooks import changed, executed, webhook_of

GUILD, BOT, OWNER, GUEST = 100, 1000, 1, 42
FIRST_CHANNEL = 5000
EPOCH_MS = 1420070400000

ME = {"id": str(BOT), "username": "persona", "discriminator": "0", "avatar": None, "bot": True}
APPLICATION = {
    "id": str(BOT),
    "name": "persona chat",
    "description": "",
    "icon": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "",
    "owner": {"id": str(OWNER), "username": "owner", "discriminator": "0", "avatar": None},
    "flags": 1 << 19,
}
PERMISSIONS = str(0x7FFFFFFFFFFF)


class FakeDiscord:
    """As much of Discord as the bot uses. `unknown` are requests that it should not have made."""

    def __init__(self, channels: int = 1, guilds: int = 1) -> None:
        self.channels = [FIRST_CHANNEL + number for number in range(channels)]
        self.guilds = [GUILD + number for number in range(guilds)]
        self.messages: dict[int, dict[int, dict[str, Any]]] = {channel: {} for channel in self.channels}
        self.unknown: list[str] = []
        self.ignores_nonces = False
        self.answers_after_s = 0.05  # what is sent stands in the channel before the bot knows
        self._nonces: dict[tuple[int, str], int] = {}
        self._numbers = itertools.count(1)
        self.gateway = Gateway(ME, lambda: [self._guild(guild) for guild in self.guilds], self.unknown)
        self.changed = self.gateway.changed
        self.interactions = Interactions(self.gateway.tell, str(BOT), str(GUILD), str(OWNER))
        self.faults = Faults()

    @property
    def identified(self) -> int:
        """How often somebody began a session."""
        return len(self.gateway.identified_at)

    def guild_of(self, channel: int) -> int:
        """The channels are dealt out to the guilds one by one."""
        return self.guilds[(channel - FIRST_CHANNEL) % len(self.guilds)]

    def post(self, channel: int, text: str, person: int = GUEST, *, ago_s: float = 0.0, **more: Any) -> int:
        """Let somebody say something, the guest if nobody is named; whoever is connected is told.

        Its id says that it was said `ago_s` seconds ago. `more` are fields of the message, for what is said by no
        person.
        """
        author = {"id": str(person), "username": f"guest {person}", "discriminator": "0"}
        message = self._message(channel, text, author, more, ago_s)
        self.gateway.tell("MESSAGE_CREATE", message)
        return int(message["id"])

    def slash(self, channel: int, name: str, /, **options: str) -> None:
        """Let the owner use a command there."""
        self.interactions.slash(self._new_id(), channel, name, **options)

    def waits(self, channel: int) -> dict[int, float]:
        """How many seconds passed until the answer to each message that has one, by the clock in their ids."""
        found = [one for one in self.messages[channel].values() if one["author"]["id"] == str(BOT)]
        pairs = [(int(one.get("message_reference", {}).get("message_id", 0)), int(one["id"])) for one in found]
        return {to: ((answer >> 22) - (to >> 22)) / 1000 for to, answer in pairs if to}

    def replies(self, channel: int) -> list[tuple[int, str]]:
        """What the bot says there now: the message that it replies to, or 0, and the words."""
        found = [one for one in self.messages[channel].values() if one["author"]["id"] == str(BOT)]
        return [(int(one.get("message_reference", {}).get("message_id", 0)), one["content"]) for one in found]

    def _message(
        self, channel: int, text: str, author: dict[str, Any], more: dict[str, Any], ago_s: float = 0.0
    ) -> dict[str, Any]:
        message_id = self._new_id(ago_s)
        message = {
            "id": str(message_id),
            "type": 0,
            "channel_id": str(channel),
            "guild_id": str(self.guild_of(channel)),
            "content": text,
            "author": {"avatar": None, **author},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "pinned": False,
            **more,
        }
        self.messages[channel][message_id] = message
        self.changed.set()
        return message

    def _new_id(self, ago_s: float = 0.0) -> int:
        return (int((time.time() - ago_s) * 1000) - EPOCH_MS << 22) + next(self._numbers) % (1 << 22)

    def _guild(self, guild: int) -> dict[str, Any]:
        everyone = {
            "id": str(guild),
            "name": "@everyone",
            "permissions": PERMISSIONS,
            "position": 0,
            "color": 0,
            "hoist": False,
            "managed": False,
            "mentionable": False,
        }
        return {
            "id": str(guild),
            "name": "Tests",
            "owner_id": str(OWNER),
            "roles": [everyone],
            "emojis": [],
            "features": [],
            "member_count": 3,
            "members": [
                {
                    "user": ME,
                    "roles": [],
                    "joined_at": "2026-01-01T00:00:00+00:00",
                    "deaf": False,
                    "mute": False,
                    "flags": 0,
                }
            ],
            "channels": [self._channel(one) for one in self.channels if self.guild_of(one) == guild],
            "threads": [],
            "preferred_locale": "en-US",
            "verification_level": 0,
            "default_message_notifications": 0,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "premium_tier": 0,
            "system_channel_flags": 0,
            "afk_timeout": 60,
        }

    def _channel(self, channel: int) -> dict[str, Any]:
        named = {"id": str(channel), "name": f"talk-{channel}", "type": 0, "guild_id": str(self.guild_of(channel))}
        return {**named, "position": 0, "permission_overwrites": [], "nsfw": False, "topic": None}

    async def rest(self, request: web.Request) -> web.StreamResponse:
        """Answer a request as Discord does, or as it is planned to go wrong."""
        await request.read()  # so that a connection breaks after the whole request came
        return await self.faults.befall(request, lambda: self._rest(request))

    async def _rest(self, request: web.Request) -> web.Response:
        match request.method, request.path.removeprefix("/api/v10/").split("/"):
            case "GET", ["users", "@me"]:
                return answer(ME)
            case "GET", ["oauth2", "applications", "@me"]:
                return answer(APPLICATION)
            case "PUT", ["applications", _, "commands"]:
                return answer([])
            case "GET", ["channels", _, "webhooks"]:
                return answer([])
            case "POST", ["channels", channel, "webhooks"]:
                return answer(webhook_of(channel, ME))
            case "POST", ["webhooks", webhook, "webhook-token"]:
                return answer(executed(self, webhook, await request.json(), ME))
            case method, ["webhooks", _, "webhook-token", "messages", _] as path:
                return changed(self, method, path, await request.json() if method == "PATCH" else {})
            case "POST", ["channels", _, "typing"]:
                return web.Response(status=204)
            case "POST", ["channels", channel, "messages"]:
                response = self._send(int(channel), await request.json())
                await asyncio.sleep(self.answers_after_s)
                return response
            case "GET", ["channels", channel, "messages"]:
                return answer(self._history(int(channel), request.query))
            case method, ["channels", channel, "messages", message]:
                said = await request.json() if method == "PATCH" else {}
                return self._one(method, int(channel), int(message), said)
            case method, path:
                self.unknown.append(f"{method} {'/'.join(path)}")
                return answer({"message": "not here", "code": 0}, 404)

    def _send(self, channel: int, said: dict[str, Any]) -> web.Response:
        nonce = said.get("nonce")
        if nonce is not None and said.get("enforce_nonce") and not self.ignores_nonces:
            known = self._nonces.get((channel, nonce))
            if known in self.messages[channel]:
                return answer(self.messages[channel][known])
        more = {name: said[name] for name in ("message_reference", "nonce", "components") if said.get(name)}
        message = self._message(channel, said["content"], ME, more)
        if nonce is not None:
            self._nonces[channel, nonce] = int(message["id"])
        self.gateway.tell("MESSAGE_CREATE", message)
        return answer(message)

    def _history(self, channel: int, query: Any) -> list[dict[str, Any]]:
        limit, after = int(query.get("limit", 50)), int(query.get("after", 0))
        before = int(query.get("before", 1 << 63))
        found = [one for message_id, one in sorted(self.messages[channel].items()) if after < message_id < before]
        return (found[:limit] if after else found[-limit:])[::-1]

    def _one(self, method: str, channel: int, message_id: int, said: dict[str, Any]) -> web.Response:
        message = self.messages[channel].get(message_id)
        if message is None:
            return answer({"message": "Unknown Message", "code": 10008}, 404)
        if method == "DELETE":
            del self.messages[channel][message_id]
            guild = str(self.guild_of(channel))
            self.gateway.tell("MESSAGE_DELETE", {"id": str(message_id), "channel_id": str(channel), "guild_id": guild})
            return web.Response(status=204)
        if method == "PATCH":
            message["content"] = said.get("content", message["content"])
            self.changed.set()
        return answer(message)


def answer(data: Any, status: int = 200) -> web.Response:
    """JSON as Discord sends it: without a charset, for discord.py compares the content type exactly."""
    response = web.json_response(data, status=status)
    response.headers["Content-Type"] = "application/json"
    return response


@asynccontextmanager
async def listening(discord: FakeDiscord) -> AsyncIterator[int]:
    """Serve on a free port of loopback, inside the block."""
    app = web.Application()
    app.router.add_get("/", discord.gateway.connect)
    app.router.add_get("/api/v10/gateway/bot", discord.gateway.about)
    # Webhooks of channels have another token, and are among the rest.
    interactions, hook = discord.interactions, "/api/v10/webhooks/{application}/{token:(?!webhook-token)[^/]+}"
    app.router.add_post("/api/v10/interactions/{interaction}/{token}/callback", interactions.respond)
    app.router.add_patch(f"{hook}/messages/@original", interactions.finish)
    app.router.add_post(hook, interactions.finish)
    app.router.add_route("*", "/{path:.*}", discord.rest)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    discord.gateway.url = f"ws://127.0.0.1:{port}/"
    try:
        yield port
    finally:
        await runner.cleanup()

"""Slash commands on the Discord of loopback: they come over the gateway, and are answered by requests of their own."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

from aiohttp import web

Payload = dict[str, Any]

EVERYTHING = str(0x7FFFFFFFFFFF)
TEXT = 3  # the type of an option


class Interactions:
    """Lets the owner use commands. `waited_s` is how long each of them, by its id, waited for the first response."""

    def __init__(self, tell: Callable[[str, Payload], None], application: str, guild: str, owner: str) -> None:
        self._tell = tell
        self._application, self._guild, self._owner = application, guild, owner
        self._numbers = count(1)
        self._came: dict[int, float] = {}
        self.waited_s: dict[int, float] = {}
        self.finished: list[int] = []

    def slash(self, new_id: int, channel: int, name: str, /, **options: str) -> None:
        """Use a command, such as `persona show`."""
        given: list[Payload] = [{"name": one, "type": TEXT, "value": value} for one, value in options.items()]
        first, *groups = name.split()
        for number, inner in enumerate(reversed(groups)):
            given = [{"name": inner, "type": 2 if number else 1, "options": given}]
        user = {"id": self._owner, "username": "owner", "discriminator": "0", "avatar": None}
        member = {"user": user, "roles": [], "permissions": EVERYTHING, "deaf": False, "mute": False, "flags": 0}
        self._came[new_id] = time.perf_counter()
        self._tell(
            "INTERACTION_CREATE",
            {
                "id": str(new_id),
                "application_id": self._application,
                "type": 2,
                "token": f"token-{new_id}",
                "version": 1,
                "data": {"id": "1", "name": first, "type": 1, "options": given},
                "channel_id": str(channel),
                "channel": {"id": str(channel), "type": 0, "name": "talk", "guild_id": self._guild, "position": 0},
                "guild_id": self._guild,
                "member": {**member, "joined_at": "2026-01-01T00:00:00+00:00"},
                "locale": "en-US",
                "guild_locale": "en-US",
                "app_permissions": EVERYTHING,
                "entitlements": [],
                "authorizing_integration_owners": {"0": self._guild},
                "context": 0,
                "attachment_size_limit": 26214400,
            },
        )

    async def respond(self, request: web.Request) -> web.Response:
        """Take the first response to one."""
        interaction = int(request.match_info["interaction"])
        self.waited_s[interaction] = time.perf_counter() - self._came.pop(interaction)
        return _answer({"interaction": {"id": str(interaction), "type": 2}})

    async def finish(self, request: web.Request) -> web.Response:
        """Take what a deferred one came to."""
        interaction = int(request.match_info["token"].removeprefix("token-"))
        self.finished.append(interaction)
        return _answer(
            {
                "id": str(interaction + 1),
                "type": 0,
                "channel_id": "0",
                "content": "",
                "author": {"id": self._application, "username": "persona", "discriminator": "0", "avatar": None},
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
        )


def _answer(data: Payload) -> web.Response:
    response = web.json_response(data)
    response.headers["Content-Type"] = "application/json"
    return response

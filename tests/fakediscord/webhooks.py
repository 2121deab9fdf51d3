"""Webhooks of the Discord of loopback: one that the bot makes in a channel, and what it says and changes by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from tests.fakediscord.server import FakeDiscord

FIRST_WEBHOOK = 700_000
TOKEN = "webhook-token"


def webhook_of(channel: str, me: dict[str, Any]) -> dict[str, Any]:
    """The webhook of a channel, as its maker sees it."""
    made = {"id": str(FIRST_WEBHOOK + int(channel)), "type": 1, "token": TOKEN, "channel_id": channel, "user": me}
    return made | {"name": "persona chat", "avatar": None, "application_id": me["id"]}


def executed(there: FakeDiscord, webhook: str, said: dict[str, Any], me: dict[str, Any]) -> dict[str, Any]:
    """Say something by it. There is no nonce: what is asked twice is said twice."""
    channel = int(webhook) - FIRST_WEBHOOK
    author = {"id": webhook, "username": said["username"], "discriminator": "0000", "bot": True}
    more = {"webhook_id": webhook, "application_id": me["id"], "components": said.get("components", [])}
    message = there._message(channel, said["content"], author, more)
    there.gateway.tell("MESSAGE_CREATE", message)
    return message


def changed(there: FakeDiscord, method: str, path: list[str], said: dict[str, Any]) -> web.Response:
    """Change or delete a message of it: the last of the path."""
    return there._one(method, int(path[1]) - FIRST_WEBHOOK, int(path[-1]), said)

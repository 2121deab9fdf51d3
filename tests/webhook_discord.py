"""What simcord lacks of Discord's webhooks, put in: buttons, threads, names that are refused, and whose they are.

Discord's documentation: an application's own webhook may send buttons (`with_components`), `thread_id` says in which
thread, a message carries `application_id`, and no name holds "clyde" or "discord".
"""

from typing import Any

import pytest
from simcord.backend import errors, serializers
from simcord.backend.models import Webhook
from simcord.http.router import RequestContext
from simcord.http.routes import interactions

WEBHOOKS_A_CHANNEL = 15


@pytest.fixture
def webhook_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    """A simcord whose webhooks are as Discord's are."""
    execute, payload_of = interactions.bot_message, serializers.message_payload

    def own(ctx: RequestContext, webhook: Webhook) -> bool:
        return webhook.creator_id == ctx.backend.bot_user.id

    def body(ctx: RequestContext) -> tuple[dict[str, Any], bool]:
        sent = dict(ctx.body())
        with_components = str(ctx.params.get("with_components", "")).lower() in {"1", "true"}
        if not with_components or not own(ctx, interactions._incoming_webhook(ctx)):
            sent.pop("components", None)
        return sent, with_components

    def bot_message(ctx: RequestContext, channel_id: int, **how: Any) -> Any:
        if how.get("webhook_id") is None:
            return execute(ctx, channel_id, **how)
        name = str(how["body"].get("username", ""))
        if not 1 <= len(name) <= 80 or any(word in name.casefold() for word in ("clyde", "discord")):
            raise errors.invalid_form_body("username")
        return execute(ctx, int(ctx.params.get("thread_id", channel_id)), **how)

    def incoming_message(ctx: RequestContext) -> Any:
        webhook = interactions._incoming_webhook(ctx)
        channel_id = int(ctx.params.get("thread_id", webhook.channel_id))
        message = ctx.backend.get_message(channel_id, ctx.int_arg("message_id"))
        if message.webhook_id != webhook.id:
            raise errors.unknown_message()
        return message

    def message_payload(backend: Any, message: Any, **how: Any) -> Any:
        payload = payload_of(backend, message, **how)
        webhook = backend.webhooks.get(message.webhook_id)
        if webhook is not None and webhook.creator_id == backend.bot_user.id:
            payload["application_id"] = str(backend.application_id)
        return payload

    monkeypatch.setattr(interactions, "_incoming_webhook_body", body)
    monkeypatch.setattr(interactions, "bot_message", bot_message)
    monkeypatch.setattr(interactions, "_incoming_message", incoming_message)
    monkeypatch.setattr(serializers, "message_payload", message_payload)

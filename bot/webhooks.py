"""The one webhook of each channel that is ours: found, made when it is missing, and looked for again when it is gone.

It knows channels and permissions, and nothing of personas.
"""

import asyncio
import logging
import time
from collections import defaultdict
from typing import Any

import discord
from discord.utils import MISSING

from bot.faults import DISCORD_FAULTS

log = logging.getLogger(__name__)

NAME = "persona chat"

AGAIN_S = 60.0
"""How long a channel that gave no webhook is not asked for one again."""

_UNKNOWN_WEBHOOK = 10015
_WITH_WEBHOOKS = (discord.TextChannel, discord.VoiceChannel, discord.StageChannel, discord.ForumChannel)


class Webhooks:
    """Webhooks by their channels. Missing ones are made unless `make` says otherwise."""

    def __init__(self, client: discord.Client, *, make: bool) -> None:
        self._client = client
        self._make = make
        self._known: dict[int, discord.Webhook] = {}
        self._again_at: dict[int, float] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def knows(self, webhook_id: int | None) -> bool:
        """Whether that is one of those that were used since the start."""
        return any(webhook.id == webhook_id for webhook in self._known.values())

    async def of(self, channel: object) -> discord.Webhook | None:
        """Return the webhook with which one speaks there; None where there can be none."""
        home = home_of(channel)
        if home is None:
            return None
        async with self._locks[home.id]:
            if home.id not in self._known and allowed(home) and time.monotonic() >= self._again_at.get(home.id, 0):
                webhook = await self._looked_for(home)
                if webhook is None:
                    self._again_at[home.id] = time.monotonic() + AGAIN_S
                else:
                    self._known[home.id] = webhook
            return self._known.get(home.id)

    def forget_if_gone(self, channel: object, error: discord.HTTPException) -> bool:
        """Forget the channel's webhook when that is what the error says; whether it was."""
        home = home_of(channel)
        if error.code != _UNKNOWN_WEBHOOK or home is None:
            return False
        self._known.pop(home.id, None)
        return True

    async def _looked_for(self, home: Any) -> discord.Webhook | None:
        me = self._client.user
        try:
            there: list[discord.Webhook] = await home.webhooks()
            for webhook in there:
                if me is not None and webhook.user is not None and webhook.user.id == me.id and webhook.token:
                    return webhook
            made: discord.Webhook | None = await home.create_webhook(name=NAME) if self._make else None
        except DISCORD_FAULTS as error:  # such as 15 webhooks that are there already
            code = error.code if isinstance(error, discord.HTTPException) else type(error).__name__
            log.info("channel %s gives no webhook: %s", home.id, code)
            return None
        return made


def home_of(channel: object) -> Any:
    """The channel that has the webhooks: of a thread its parent; None where there can be none."""
    home = channel.parent if isinstance(channel, discord.Thread) else channel
    return home if isinstance(home, _WITH_WEBHOOKS) else None


def allowed(home: Any) -> bool:
    """Whether we may look for and make webhooks in a channel that can have them."""
    return bool(home.permissions_for(home.guild.me).manage_webhooks)


def thread_of(channel: object) -> Any:
    """What a call to a webhook says of a thread, or that it is none."""
    return channel if isinstance(channel, discord.Thread) else MISSING

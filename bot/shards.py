"""The bot on several connections to Discord, for very many servers; one connection is `client.PersonaBot`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import discord

from bot.client import PersonaBot
from persona_chat.chat import Chat
from persona_chat.errors import trace
from persona_chat.privacy import Privacy

log = logging.getLogger(__name__)

LOOK_S = 5.0
"""How soon a process does what a person told another one."""


class ShardedBot(PersonaBot, discord.AutoShardedClient):
    """The same bot, its servers spread over shards, all of them or some in this process."""

    @property
    def connected(self) -> bool:
        """Whether every shard of this process is connected."""
        return self.is_ready() and not any(shard.is_closed() for shard in self.shards.values())

    def holds(self, channel: Any) -> bool:
        """Whether the channel's server is in one of the shards of this process; direct messages come over the first."""
        guild = getattr(channel, "guild", None)
        shard = 0 if guild is None else (guild.id >> 22) % (self.shard_count or 1)
        return not self.shard_ids or shard in self.shard_ids


async def look_again(chat: Chat, privacy: Privacy) -> None:
    """Read what people may have said to another process: a server has one of them, a person may meet several."""
    await privacy.look_again()
    await chat.cast.look_again()
    await chat.memory.start()


@asynccontextmanager
async def in_step(chat: Chat, privacy: Privacy) -> AsyncIterator[None]:
    """Keep this process in step with others on the same database, inside the block."""
    task = asyncio.create_task(_keep_looking(chat, privacy))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _keep_looking(chat: Chat, privacy: Privacy) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await look_again(chat, privacy)
        except Exception as error:  # a database that is away comes back
            log.warning("what other processes changed could not be read: %s", trace(error))

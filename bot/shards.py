"""The bot on several connections to Discord, for very many servers; one connection is `client.PersonaBot`."""

import discord

from bot.client import PersonaBot


class ShardedBot(PersonaBot, discord.AutoShardedClient):
    """The same bot, its servers spread over shards, all of them or some in this process."""

    @property
    def connected(self) -> bool:
        """Whether every shard of this process is connected."""
        return self.is_ready() and not any(shard.is_closed() for shard in self.shards.values())

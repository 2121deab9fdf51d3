"""What servers allow: where the bot talks and to whom, which words, and where moderators are told. In memory and store.

It knows the store, and no Discord.
"""

import asyncio
from collections.abc import Iterable

from persona_chat.place import Place
from persona_chat.rules import Kind, Rules, Verdict, judge
from persona_chat.store.store import Store
from persona_chat.word_filter import Filtering, WordFilter, WordList, built_in_list, word_list

NOTHING_SET = Rules()
NO_FILTER = WordFilter()

LISTED = 200
"""The most channels, and the most roles, that a server may have on its lists."""


class Moderation:
    """The rules of servers; in direct messages there are none. `reports` are the store's, for threads."""

    def __init__(self, store: Store) -> None:
        self.reports = store.reports
        self._store = store.moderation
        self._rules: dict[int, Rules] = {}
        self._filters: dict[int, WordFilter] = {}
        self._built_in = WordList()
        self._changing = asyncio.Lock()  # what is stored and what is in memory never differ

    async def start(self) -> None:
        """Read what was set. Call once, before anything else."""
        self._built_in = await asyncio.to_thread(built_in_list)
        await self._read()

    def rules(self, guild_id: int | None) -> Rules:
        """Return what was set for a server."""
        return self._rules.get(guild_id or 0, NOTHING_SET)

    def judge(self, place: Place, role_ids: Iterable[int], *, manages: bool) -> Verdict:
        """Return whether the bot talks in this place to a person with these roles, by the rules of its server."""
        return judge(self.rules(place.guild_id), place, role_ids, manages=manages)

    def words(self, guild_id: int | None) -> WordFilter:
        """Return a server's filter of words."""
        return self._filters.get(guild_id or 0, NO_FILTER)

    async def list(self, guild_id: int, kind: Kind, target_id: int, *, allowed: bool) -> bool:
        """Put a channel or a role on a list; False when there are too many."""
        async with self._changing:
            there = self.rules(guild_id).of(kind)
            if target_id not in there and len(there) >= LISTED:
                return False
            await asyncio.to_thread(self._store.list, guild_id, kind, target_id, allowed=allowed)
            await self._read()
        return True

    async def unlist(self, guild_id: int, kind: Kind, target_id: int | None) -> None:
        """Take a channel or a role from its list, or all of that kind."""
        async with self._changing:
            await asyncio.to_thread(self._store.unlist, guild_id, kind, target_id)
            await self._read()

    async def filter(self, guild_id: int, filtering: Filtering) -> None:
        """Filter words so from now on."""
        async with self._changing:
            await asyncio.to_thread(self._store.set, guild_id, filtering, self.rules(guild_id).log_channel_id)
            await self._read()

    async def write_to(self, guild_id: int, channel_id: int | None) -> None:
        """Tell moderators there what happens, or nowhere."""
        async with self._changing:
            await asyncio.to_thread(self._store.set, guild_id, self.rules(guild_id).filtering, channel_id)
            await self._read()

    async def _read(self) -> None:
        # All of it: it is small, and changed by hand.
        rules = await asyncio.to_thread(self._store.all)
        self._filters = {guild_id: self._filter(one.filtering) for guild_id, one in rules.items()}
        self._rules = rules

    def _filter(self, filtering: Filtering) -> WordFilter:
        return WordFilter(filtering, self._built_in, word_list(filtering.words))

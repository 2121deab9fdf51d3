"""What the managers of servers set: all SQL about it as verbs. It says nothing about who set it."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select

from persona_chat.rules import Kind, Rules
from persona_chat.store.library import Begin
from persona_chat.store.tables import FilterWords, Listed, Servers
from persona_chat.word_filter import Filtering, side_of


class ModerationStore:
    """The servers in a database where something was set."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def all(self) -> dict[int, Rules]:
        """Return what was set, by server."""
        with self._reading() as connection:
            servers = {row.id: row for row in connection.execute(select(Servers))}
            listed: defaultdict[tuple[int, str], dict[int, bool]] = defaultdict(dict)
            for one in connection.execute(select(Listed)):
                listed[one.server_id, one.kind][one.target_id] = one.allowed
            words: defaultdict[int, tuple[str, ...]] = defaultdict(tuple)
            for own in connection.execute(select(FilterWords).order_by(FilterWords.number)):
                words[own.server_id] += (own.word,)
        found = {}
        for server_id in {*servers, *(server_id for server_id, _ in listed)}:
            rules = Rules(listed[server_id, Kind.CHANNEL], listed[server_id, Kind.ROLE])
            if (row := servers.get(server_id)) is not None:
                side = side_of(reads_input=row.filters_input, reads_output=row.filters_output)
                filtering = Filtering(side, row.built_in_words, words[server_id])
                rules = replace(rules, filtering=filtering, log_channel_id=row.log_channel_id)
            found[server_id] = rules
        return found

    def list(self, server_id: int, kind: Kind, target_id: int, *, allowed: bool) -> None:
        """Put a channel or a role on the allow-list or the deny-list; it is on one of them at most."""
        row = self._insert(Listed).values(server_id=server_id, kind=kind, target_id=target_id, allowed=allowed)
        keys = [Listed.server_id, Listed.kind, Listed.target_id]
        with self._writing() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=keys, set_={"allowed": allowed}))

    def unlist(self, server_id: int, kind: Kind, target_id: int | None) -> None:
        """Take a channel or a role from its list, or all of that kind."""
        which = [Listed.server_id == server_id, Listed.kind == kind]
        if target_id is not None:
            which.append(Listed.target_id == target_id)
        with self._writing() as connection:
            connection.execute(delete(Listed).where(*which))

    def set(self, server_id: int, filtering: Filtering, log_channel_id: int | None) -> None:
        """Keep how a server filters words, and where the bot writes what moderators should know."""
        values = {
            "filters_input": filtering.reads_input,
            "filters_output": filtering.reads_output,
            "built_in_words": filtering.built_in,
            "log_channel_id": log_channel_id,
            "updated_at": datetime.now(UTC),
        }
        row = self._insert(Servers).values(id=server_id, **values)
        words = [{"server_id": server_id, "number": n, "word": word} for n, word in enumerate(filtering.words)]
        with self._writing() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=[Servers.id], set_=values))
            connection.execute(delete(FilterWords).where(FilterWords.server_id == server_id))
            if words:
                connection.execute(insert(FilterWords), words)

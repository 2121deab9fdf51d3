"""How the bot behaves in channels, and from where on it remembers them: all SQL about it as verbs."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update

from persona_chat.manners import Manners, Mode
from persona_chat.store.library import Begin
from persona_chat.store.tables import Channels, Messages


class MannersStore:
    """The channels in a database that behave otherwise than by default, or were reset."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any]) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert

    def all(self) -> dict[int, Manners]:
        """Return what was set, by channel."""
        with self._reading() as connection:
            return {
                row.id: Manners(Mode(row.mode) if row.mode else None, row.chance, row.cooldown_s, row.paused)
                for row in connection.execute(select(Channels))
            }

    def set(self, channel_id: int, manners: Manners) -> None:
        """Keep what was set for a channel."""
        self._put(
            channel_id,
            mode=manners.mode.value if manners.mode else None,
            chance=manners.chance,
            cooldown_s=manners.cooldown_s,
            paused=manners.paused,
        )

    def forget(self, channel_id: int) -> int:
        """Remember nothing that was said in the channel until now; return how many answered messages that are."""
        with self._reading() as connection:
            newest = connection.scalar(select(func.max(Messages.id)).where(Messages.channel_id == channel_id)) or 0
            since = connection.scalar(select(Channels.since).where(Channels.id == channel_id)) or 0
            count = select(func.count()).where(
                Messages.channel_id == channel_id, Messages.id > since, Messages.state == "answered"
            )
            forgotten = connection.execute(count).scalar_one()
        if forgotten:
            self._put(channel_id, since=newest, since_before=since)
        return forgotten

    def remember(self, channel_id: int) -> bool:
        """Undo the last reset; whether there was one to undo."""
        undone = (
            update(Channels)
            .where(Channels.id == channel_id, Channels.since_before.is_not(None))
            .values(since=Channels.since_before, since_before=None, updated_at=datetime.now(UTC))
        )
        with self._writing() as connection:
            return bool(connection.execute(undone).rowcount)

    def _put(self, channel_id: int, **values: Any) -> None:
        new = {"mode": None, "chance": 0, "cooldown_s": 0, "paused": False, "since": 0, "since_before": None} | values
        now = datetime.now(UTC)
        row = self._insert(Channels).values(id=channel_id, updated_at=now, **new)
        with self._writing() as connection:
            connection.execute(
                row.on_conflict_do_update(index_elements=[Channels.id], set_={**values, "updated_at": now})
            )

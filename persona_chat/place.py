"""Where something is said and by whom, and which of these a persona can be set for. It knows no Discord objects."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    """What a persona is set for. `me` is one person, wherever that person talks."""

    THREAD = "thread"
    CHANNEL = "channel"
    SERVER = "server"
    ME = "me"


class Spot(NamedTuple):
    """A thread, channel, server or person, by Discord's id."""

    scope: Scope
    id: int


@dataclass(frozen=True)
class Place:
    """A channel as one person is in it. Ids are Discord's; in a thread `channel_id` is the thread's own."""

    channel_id: int
    person_id: int
    guild_id: int | None = None
    parent_id: int | None = None  # the channel that a thread belongs to
    age_restricted: bool = False

    @property
    def home(self) -> Spot:
        """Where a persona belongs that is made here: to the server; in direct messages to the person."""
        return self.mine if self.guild_id is None else Spot(Scope.SERVER, self.guild_id)

    @property
    def mine(self) -> Spot:
        """The person, whose personas go wherever that person talks."""
        return Spot(Scope.ME, self.person_id)

    @property
    def spots(self) -> tuple[Spot, ...]:
        """Everything that a persona may be set for here, in the order in which it counts."""
        return tuple(spot for scope in _ORDER if (spot := self.find(scope)) is not None)

    def find(self, scope: Scope) -> Spot | None:
        """Return the spot of that scope; None where there is no such thing, as a server in direct messages."""
        ids = {
            Scope.THREAD: self.channel_id if self.parent_id is not None else None,
            Scope.CHANNEL: self.channel_id if self.parent_id is None else self.parent_id,
            Scope.SERVER: self.guild_id,
            Scope.ME: self.person_id,
        }
        found = ids[scope]
        return None if found is None else Spot(scope, found)


_ORDER = (Scope.THREAD, Scope.ME, Scope.CHANNEL, Scope.SERVER)

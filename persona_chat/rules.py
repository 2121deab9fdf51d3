"""Where the bot may talk in a server, and to whom: lists of channels and roles. Pure decisions.

It knows no Discord and no store.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from persona_chat.place import Place
from persona_chat.word_filter import NO_FILTERING, Filtering


class Kind(StrEnum):
    """What is on a list."""

    CHANNEL = "channel"  # or a thread
    ROLE = "role"


class Verdict(Enum):
    """What becomes of a message or a command."""

    FINE = auto()
    CHANNEL = auto()  # the bot does not talk here
    ROLE = auto()  # the bot does not talk to this person


@dataclass(frozen=True)
class Rules:
    """What a server's managers set. Listed are Discord's ids: True is on the allow-list, False on the deny-list."""

    channels: Mapping[int, bool] = field(default_factory=dict)
    roles: Mapping[int, bool] = field(default_factory=dict)
    filtering: Filtering = NO_FILTERING
    log_channel_id: int | None = None

    def of(self, kind: Kind) -> Mapping[int, bool]:
        """The list of that kind."""
        return self.channels if kind is Kind.CHANNEL else self.roles


def judge(rules: Rules, place: Place, role_ids: Iterable[int], *, manages: bool) -> Verdict:
    """Return whether the bot talks in this place to a person with these roles.

    Channels count for everybody; roles not for those who manage the server. Of two reasons it is the role: what is
    said privately may be said in any channel.
    """
    if not (manages or talks_to(rules.roles, role_ids)):
        return Verdict.ROLE
    return Verdict.FINE if talks_in(rules.channels, place) else Verdict.CHANNEL


def talks_in(channels: Mapping[int, bool], place: Place) -> bool:
    """Whether the bot talks there. A thread that is named itself does not follow its channel."""
    for channel_id in (place.channel_id, place.parent_id):
        if channel_id is not None and channel_id in channels:
            return channels[channel_id]
    return True not in channels.values()


def talks_to(roles: Mapping[int, bool], role_ids: Iterable[int]) -> bool:
    """Whether the bot talks to somebody with these roles. One that is denied wins over any that is allowed."""
    listed = [roles[role_id] for role_id in role_ids if role_id in roles]
    if False in listed:
        return False
    return True in listed or True not in roles.values()

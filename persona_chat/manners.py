"""How the bot behaves in a channel: to whom it answers. Pure decisions; it knows no Discord and no store."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """Which messages are answered."""

    MENTION = "mention"  # those that are for the bot: mentions, replies to it
    EVERY = "every"
    CHANCE = "chance"  # those that are for the bot, and some others
    OFF = "off"


@dataclass(frozen=True)
class Manners:
    """What was set for a channel. No `mode` means: every message where a persona was set, else mentions.

    `chance` is in percent of the messages, `cooldown_s` the fewest seconds between two that nobody asked for.
    """

    mode: Mode | None = None
    chance: int = 0
    cooldown_s: int = 0
    paused: bool = False

    @property
    def silent(self) -> bool:
        """Whether nothing at all is answered."""
        return self.paused or self.mode is Mode.OFF


def listens(manners: Manners, *, addressed: bool, seated: bool, quiet_s: float, drawn: float) -> bool:
    """Whether a message is answered.

    `seated` says that a persona was set for the channel, `quiet_s` how long ago one was answered that was not for the
    bot, and `drawn` is a number from 0 to 100 that chance gave.
    """
    mode = manners.mode or (Mode.EVERY if seated else Mode.MENTION)
    if manners.silent:
        return False
    if addressed or mode is Mode.EVERY:
        return True
    return mode is Mode.CHANCE and drawn < manners.chance and quiet_s >= manners.cooldown_s


def set_aside(text: str) -> bool:
    """Whether somebody put the whole message in brackets: then it is for other people."""
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == "(" and stripped[-1] == ")"

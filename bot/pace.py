"""How much one person, one channel and one server may ask in a minute. discord.py counts; it knows no texts."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple

import discord
from discord.app_commands import Cooldown
from discord.ext.commands import CooldownMapping

from persona_chat.errors import CannotAnswer
from persona_chat.language import N_, _

MINUTE_S = 60.0

PERSON = N_("You are quicker than I am: I answer {limit} messages a minute from each person. Give me a moment.")
CHANNEL = N_("Many people write here at once: I answer {limit} messages a minute in a channel. Give me a moment.")
SERVER = N_("Many people write on this server at once: I answer {limit} messages a minute here. Give me a moment.")


class Verdict(Enum):
    """What becomes of a message."""

    ANSWER = auto()
    EXPLAIN = auto()  # it gets a line that says why it is not answered
    PASS = auto()  # not even that: there was one a moment ago


class Asked(NamedTuple):
    """Something that the model is to answer: whose it is, where, and when, in seconds."""

    guild_id: int | None
    person_id: int
    channel_id: int | None
    at: float


class _Limit:
    """How much each that `of` names may ask in a minute. Each that `told` names hears of it once a minute."""

    def __init__(
        self, name: str, most: int, of: Callable[[Asked], Any], line: str, told: Callable[[Asked], Any]
    ) -> None:
        self.name = name
        self._most = most
        self._line = line
        self._asked = CooldownMapping(Cooldown(max(1, most), MINUTE_S), of)
        self._told = CooldownMapping(Cooldown(1, MINUTE_S), told)

    def reached(self, asked: Asked) -> bool:
        """Count it; whether it is one too many."""
        return bool(self._most) and self._asked.update_rate_limit(asked, asked.at) is not None

    def told(self, asked: Asked) -> bool:
        """Whether that was said a moment ago. If not, it is said now."""
        return self._told.update_rate_limit(asked, asked.at) is not None

    @property
    def line(self) -> str:
        """What is said of it."""
        return _(self._line).format(limit=self._most)


class Pace:
    """Counts what would be answered. A limit of 0 is none."""

    def __init__(self, per_person: int, per_channel: int, per_server: int = 0) -> None:
        self._person = _Limit("person", per_person, _person, PERSON, _person)
        self._limits = (
            self._person,
            _Limit("channel", per_channel, _channel, CHANNEL, _channel),
            _Limit("server", per_server, _server, SERVER, _channel),
        )
        self.refused = Counter[str]()
        """How often the limit of a person, of a channel and of a server was reached."""

    def judge(self, message: discord.Message) -> tuple[Verdict, str]:
        """Return whether the message is answered, and the line that it gets instead, if it gets one."""
        guild_id = message.guild.id if message.guild is not None else None
        asked = Asked(guild_id, message.author.id, message.channel.id, message.created_at.timestamp())
        for limit in self._limits:
            if limit.reached(asked):
                self.refused[limit.name] += 1
                return (Verdict.PASS, "") if limit.told(asked) else (Verdict.EXPLAIN, limit.line)
        return Verdict.ANSWER, ""

    def over(self, guild_id: int | None, person_id: int, at: datetime) -> str:
        """Count another answer to what was answered already, for the person alone; return why there is none, if so."""
        if not self._person.reached(Asked(guild_id, person_id, None, at.timestamp())):
            return ""
        self.refused[self._person.name] += 1
        return self._person.line


def check_pace(interaction: discord.Interaction[Any]) -> None:
    """Count an answer that a button asks for. Raises CannotAnswer for somebody who asks too much."""
    pace: Pace = interaction.client.pace
    if line := pace.over(interaction.guild_id, interaction.user.id, interaction.created_at):
        raise CannotAnswer(line)


def _person(asked: Asked) -> tuple[int | None, int]:
    return asked.guild_id, asked.person_id


def _channel(asked: Asked) -> int | None:
    return asked.channel_id


def _server(asked: Asked) -> int | None:
    return asked.guild_id or asked.channel_id  # a direct conversation is in none

"""How much one person, and one channel, may ask in a minute. discord.py counts; it knows no texts."""

from collections import Counter
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


class Pace:
    """Counts what would be answered. A limit of 0 is none."""

    def __init__(self, per_person: int, per_channel: int) -> None:
        self._limits = [(per_person, _person, PERSON), (per_channel, _channel, CHANNEL)]
        self._counts = [CooldownMapping(Cooldown(max(1, limit), MINUTE_S), of) for limit, of, _ in self._limits]
        self.refused = Counter[str]()
        """How often the limit of a person, and of a channel, was reached."""
        self._lines = [CooldownMapping(Cooldown(1, MINUTE_S), of) for _, of, _ in self._limits]

    def judge(self, message: discord.Message) -> tuple[Verdict, str]:
        """Return whether the message is answered, and the line that it gets instead, if it gets one."""
        guild_id = message.guild.id if message.guild is not None else None
        asked = Asked(guild_id, message.author.id, message.channel.id, message.created_at.timestamp())
        for (limit, _of, line), count, said in zip(self._limits, self._counts, self._lines, strict=True):
            if limit and count.update_rate_limit(asked, asked.at) is not None:
                self.refused["person" if line is PERSON else "channel"] += 1
                if said.update_rate_limit(asked, asked.at) is None:
                    return Verdict.EXPLAIN, _(line).format(limit=limit)
                return Verdict.PASS, ""
        return Verdict.ANSWER, ""

    def over(self, guild_id: int | None, person_id: int, at: datetime) -> str:
        """Count another answer to what was answered already, for the person alone; return why there is none, if so."""
        limit, _of, line = self._limits[0]
        asked = Asked(guild_id, person_id, None, at.timestamp())
        if limit and self._counts[0].update_rate_limit(asked, asked.at) is not None:
            self.refused["person"] += 1
            return _(line).format(limit=limit)
        return ""


def check_pace(interaction: discord.Interaction[Any]) -> None:
    """Count an answer that a button asks for. Raises CannotAnswer for somebody who asks too much."""
    pace: Pace = interaction.client.pace
    if line := pace.over(interaction.guild_id, interaction.user.id, interaction.created_at):
        raise CannotAnswer(line)


def _person(asked: Asked) -> tuple[int | None, int]:
    return asked.guild_id, asked.person_id


def _channel(asked: Asked) -> int | None:
    return asked.channel_id

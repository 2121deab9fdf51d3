"""How much one person, and one channel, may ask in a minute. discord.py counts; it knows no texts."""

from enum import Enum, auto

import discord
from discord.ext import commands

from persona_chat.language import N_, _

MINUTE_S = 60.0

PERSON = N_("You are quicker than I am: I answer {limit} messages a minute from each person. Give me a moment.")
CHANNEL = N_("Many people write here at once: I answer {limit} messages a minute in a channel. Give me a moment.")


class Verdict(Enum):
    """What becomes of a message."""

    ANSWER = auto()
    EXPLAIN = auto()  # it gets a line that says why it is not answered
    PASS = auto()  # not even that: there was one a moment ago


class Pace:
    """Counts messages that would be answered. A limit of 0 is none."""

    def __init__(self, per_person: int, per_channel: int) -> None:
        self._limits = [
            (per_person, commands.BucketType.member, PERSON),
            (per_channel, commands.BucketType.channel, CHANNEL),
        ]
        self._counts = [
            commands.CooldownMapping.from_cooldown(max(1, limit), MINUTE_S, of) for limit, of, _ in self._limits
        ]
        self._lines = [commands.CooldownMapping.from_cooldown(1, MINUTE_S, of) for _, of, _ in self._limits]

    def judge(self, message: discord.Message) -> tuple[Verdict, str]:
        """Return whether the message is answered, and the line that it gets instead, if it gets one."""
        now = message.created_at.timestamp()
        for (limit, _of, line), count, said in zip(self._limits, self._counts, self._lines, strict=True):
            if limit and count.update_rate_limit(message, now) is not None:
                if said.update_rate_limit(message, now) is None:
                    return Verdict.EXPLAIN, _(line).format(limit=limit)
                return Verdict.PASS, ""
        return Verdict.ANSWER, ""

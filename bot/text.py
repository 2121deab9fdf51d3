"""Decisions about texts and messages, as pure functions: is it for us, what was said, where to split."""

import re
from collections.abc import Iterator

import discord

from bot.places import said_at
from persona_chat.heard import Heard, encodable

MESSAGE_UNITS = 1900
"""Longest part we send, in UTF-16 units. Discord takes 2,000 and does not say how it counts."""

_BREAKS = ("\n\n", "\n", r"(?<=[.!?…])\s+", r"\s+")
"""Where a long text may be split, the best place first."""


def from_person(message: discord.Message) -> bool:
    """Whether a person said this: no bot, no webhook, no system message, and so never ourselves."""
    return not message.author.bot and message.webhook_id is None and not message.is_system()


def addressed(message: discord.Message, me: discord.abc.User) -> bool:
    """Whether the message is for us wherever it stands: a direct message, a mention of us, a reply to us."""
    if message.guild is None or me in message.mentions:
        return True
    answered = message.reference.resolved if message.reference is not None else None
    return isinstance(answered, discord.Message) and answered.author.id == me.id


def heard(message: discord.Message, me: discord.abc.User) -> Heard:
    """The message as plain values: one line, mentions as names, our own mention left out."""
    raw = re.sub(rf"<@!?{me.id}>", " ", message.content)
    return Heard(
        message_id=message.id,
        place=said_at(message),
        speaker_name=encodable(message.author.display_name),
        text=" ".join(encodable(_with_names(raw, message)).split()),
    )


def split(text: str, units: int = MESSAGE_UNITS) -> Iterator[str]:
    """Cut a text into parts of at most `units` UTF-16 units: at paragraphs, lines, sentences, words."""
    rest = text.strip()
    while _units(rest) > units:
        end = _cut(rest, units)
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest


def _cut(text: str, units: int) -> int:
    fits = len(text.encode("utf-16-le")[: 2 * units].decode("utf-16-le", "ignore"))
    for pattern in _BREAKS:
        ends = [match.start() for match in re.finditer(pattern, text[: fits + 1])]
        # A break early in the part would leave a stump; a worse kind of break later on reads better.
        if ends and ends[-1] > fits // 3:
            return ends[-1]
    return fits


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _with_names(raw: str, message: discord.Message) -> str:
    """Mentions and custom emoji as a person reads them."""
    names = {f"<@{user.id}>": user.display_name for user in message.mentions}
    names |= {f"<@!{user.id}>": user.display_name for user in message.mentions}
    names |= {role.mention: role.name for role in message.role_mentions}
    names |= {f"<#{channel.id}>": f"#{channel.name}" for channel in message.channel_mentions}
    for mention, name in names.items():
        raw = raw.replace(mention, name)
    return re.sub(r"<a?(:\w+:)\d+>", r"\1", raw)

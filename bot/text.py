"""Decisions about texts and messages, as pure functions: is it for us, what was said, where to split."""

import re
import unicodedata
from collections.abc import Callable, Iterator

import discord

from bot.places import said_at
from persona_chat.heard import Heard, encodable, legible

MESSAGE_UNITS = 1900
"""Longest part we send, in UTF-16 units. Discord takes 2,000 and does not say how it counts."""

NAME_UNITS = 80
"""Longest name of a webhook's message, in UTF-16 units; that too Discord counts as it likes."""

NAMELESS = "persona"

GOES_ON = " …"
"""How the words of a reply end that is still being written."""

# Fillers of Hangul and Braille count as letters and show nothing.
_BLANK = set("\u115f\u1160\u3164\uffa0\u2800")
# Format characters that families and flags are put together with.
_JOINS = {"\u200d", *map(chr, range(0xE0020, 0xE0080))}

_BREAKS = ("\n\n", "\n", r"(?<=[.!?…])\s+", r"\s+")
"""Where a long text may be split, the best place first."""


def goes_on(content: str) -> bool:
    """Whether a message of ours shows a reply that is still being written, or its place in the line."""
    return content.rstrip("*").endswith(GOES_ON)


def from_person(message: discord.Message) -> bool:
    """Whether a person said this: no bot, no webhook, no system message, and so never ourselves."""
    return not message.author.bot and message.webhook_id is None and not message.is_system()


def addressed(message: discord.Message, me: discord.abc.User, ours: Callable[[discord.Message], bool]) -> bool:
    """Whether the message is for us wherever it stands: a direct message, a mention of us, a reply to us.

    `ours` says whether a persona said something with a name of its own.
    """
    if message.guild is None or me in message.mentions:
        return True
    answered = message.reference.resolved if message.reference is not None else None
    return isinstance(answered, discord.Message) and (answered.author.id == me.id or ours(answered))


def heard(message: discord.Message, me: discord.abc.User) -> Heard:
    """The message as plain values: one line, mentions as names, our own mention left out."""
    raw = re.sub(rf"<@!?{me.id}>", " ", message.content)
    return Heard(
        message_id=message.id,
        place=said_at(message),
        speaker_name=legible(message.author.display_name),
        text=" ".join(encodable(_with_names(raw, message)).split()),
        answers=message.reference.message_id if message.reference is not None else None,
    )


def legal_name(name: str) -> str:
    """The name as Discord takes it of a webhook: 1 to 80 characters that can be seen, and two words not in it.

    Those two get a hyphen, which can be seen too: "Cly-de", "Dis-cord". A letter of another alphabet would look the
    same and be another name, and a space may be taken out again.
    """
    seen = " ".join("".join(filter(_is_shown, name)).split())
    seen = re.sub(r"cly(?=de)|dis(?=cord)", lambda match: f"{match[0]}-", seen, flags=re.IGNORECASE)
    fits = seen.encode("utf-16-le")[: 2 * NAME_UNITS].decode("utf-16-le", "ignore").strip(" \u200d")
    return fits if set(fits) - _JOINS else NAMELESS


def leading(name: str) -> str:
    """What stands before what somebody says, where the message itself does not show who that is."""
    return f"**{discord.utils.escape_markdown(name)}:** " if name else ""


def parts(reply: str, name: str) -> list[str]:
    """The reply in parts that can be sent, with room in the first for a name that may have to lead it."""
    lead = leading(name)
    first, *rest = split(lead + reply.strip())
    return [first.removeprefix(lead), *rest]


def split(text: str, units: int = MESSAGE_UNITS) -> Iterator[str]:
    """Cut a text into parts of at most `units` UTF-16 units: at paragraphs, lines, sentences, words."""
    rest = text.strip()
    while _units(rest) > units:
        end = _cut(rest, units)
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    if rest:
        yield rest


def _is_shown(character: str) -> bool:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs") or character in _BLANK
    return character in _JOINS or not hidden or character.isspace()


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

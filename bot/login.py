"""Discord as the bot begins with it: logging in, connecting, and what its refusals mean to whoever runs the bot."""

import asyncio
import resource
from typing import TYPE_CHECKING

import aiohttp
import discord

from persona_chat.errors import DiscordUnreachable, GatewayRefused, IntentMissing, TokenRejected

if TYPE_CHECKING:
    from bot.client import PersonaBot

MOST_CONNECTIONS = 50
"""Discord takes fifty requests a second from a bot, so more than these at once would only wait there."""

PORTAL = "https://discord.com/developers/applications"

NO_TOKEN = (
    "There is no Discord token. Put DISCORD_TOKEN=… into a file `.env` here, or into the environment. "
    f"You get one at {PORTAL} (your application, Bot, Reset Token)."
)
BAD_TOKEN = f"Discord does not accept the token. Copy it again, or make a new one at {PORTAL} (Bot, Reset Token)."
NO_INTENT = (
    "The application may not read messages: at "
    f"{PORTAL} open Bot and turn on Message Content Intent, or set PERSONA_CHAT_MESSAGE_CONTENT=false "
    "to answer only mentions, replies and direct messages."
)
REFUSED = (
    "Discord did not let the bot start (HTTP {status}, code {code}). If it is 5xx or 429, wait and start again; "
    f"else look at the application at {PORTAL}."
)
SHARDS = "Look at PERSONA_CHAT_SHARD_COUNT and PERSONA_CHAT_SHARD_IDS."
REFUSED_FOR_GOOD = {
    4010: f"Discord does not know this shard. {SHARDS}",
    4011: f"The bot is in too many servers for one connection. {SHARDS}",
    4012: "Discord does not speak this version of its protocol any more. Install a newer version of persona chat.",
    4013: "Discord does not know an intent that the bot asks for. Install a newer version of persona chat.",
}
"""What the gateway's close codes mean that end a bot for good, besides those of the token and of intents."""

NO_DISCORD = "Discord cannot be reached. Check the connection of this machine and start again."


def connector() -> aiohttp.TCPConnector:
    """What Discord is reached by. Left alone, discord.py opens a connection for every request of a moment.

    The limit is for each host: the gateway has one of its own, and waits for none of the others.
    """
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return aiohttp.TCPConnector(limit=0, limit_per_host=max(1, min(MOST_CONNECTIONS, may_open // 4)))


async def login(bot: "PersonaBot", token: str) -> None:
    """Log in and see that the application has what the settings ask for: quick, so before the model is loaded."""
    try:
        await bot.login(token)
    except discord.LoginFailure:
        raise TokenRejected(BAD_TOKEN) from None
    except discord.HTTPException as error:
        raise DiscordUnreachable(REFUSED.format(status=error.status, code=error.code)) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DiscordUnreachable(f"{NO_DISCORD} ({type(error).__name__})") from None
    flags = bot.application_flags
    allowed = flags.gateway_message_content or flags.gateway_message_content_limited
    if bot.intents.message_content and not allowed:
        raise IntentMissing(NO_INTENT)


async def connect(bot: "PersonaBot") -> None:
    """Stay connected until the end. Raises CannotStart with what Discord's refusal means."""
    try:
        await _connected(bot)
    except discord.PrivilegedIntentsRequired:
        raise IntentMissing(NO_INTENT) from None
    except discord.ConnectionClosed as error:
        if error.code == 4004:
            raise TokenRejected(BAD_TOKEN) from None
        closed = f"Discord closed the connection for good (code {error.code})."
        if error.code in REFUSED_FOR_GOOD:
            raise GatewayRefused(f"{closed} {REFUSED_FOR_GOOD[error.code]}") from None
        raise DiscordUnreachable(closed) from None
    except AttributeError:
        if bot.ws is not None:
            raise
        # The very first connection failed: https://github.com/Rapptz/discord.py/issues/10520
        raise DiscordUnreachable(NO_DISCORD) from None


async def _connected(bot: "PersonaBot") -> None:
    """Stay connected until the end, or until Discord does not accept the token any more. Raises TokenRejected then."""
    connecting = asyncio.create_task(bot.connect())
    rejected = asyncio.create_task(bot.outgoing.rejected.wait())
    try:
        await asyncio.wait((connecting, rejected), return_when=asyncio.FIRST_COMPLETED)
        if rejected.done():
            raise TokenRejected(BAD_TOKEN)
        await connecting
    finally:
        connecting.cancel()
        rejected.cancel()
        await asyncio.wait((connecting, rejected))

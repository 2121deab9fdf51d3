"""What goes wrong with Discord itself, and trying again where that can do no harm."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import discord

from bot.outgoing import NotAsked

T = TypeVar("T")

log = logging.getLogger(__name__)

# What discord.py lets through besides its own errors: it retries neither a dropped connection nor 503.
DISCORD_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordException)

PASSING = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordServerError)
"""Of these the ones after which the same may work."""

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""The pauses before another try."""

KNOWN_S = 60.0
"""How long a nonce is relied on: Discord says "a few minutes". Later the channel is read first."""


def may_pass(error: BaseException) -> bool:
    """Whether the same may work in a while: also after a rate limit that discord.py did not sit out."""
    return isinstance(error, PASSING) or (isinstance(error, discord.HTTPException) and error.status == 429)


async def again_and_again(send: Callable[[], Awaitable[T]]) -> T:
    """Send, and after a fault that passes try again. Only for what has a nonce: Discord takes that once.

    Raises the last fault, and those that another try would not mend at once. A send is never cut off here: discord.py
    that is cancelled while Discord's global limit lasts lets nothing out any more.
    """
    since = time.monotonic()
    for pause_s in PAUSES_S:
        try:
            return await send()
        except DISCORD_FAULTS as error:
            if isinstance(error, NotAsked) or not may_pass(error) or time.monotonic() - since > KNOWN_S:
                raise
            log.info("a send failed, and is tried again: %s", type(error).__name__)
            await asyncio.sleep(pause_s)
    return await send()

"""What goes wrong with Discord itself, and trying again where that can do no harm."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp
import discord

log = logging.getLogger(__name__)

# What discord.py lets through besides its own errors: it retries neither a dropped connection nor 503.
DISCORD_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordException)

PASSING = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordServerError)
"""Of these the ones after which the same may work."""

PAUSES_S = (0.5, 1.0, 2.0, 4.0)
"""The pauses before another try."""


async def again_and_again(send: Callable[[], Awaitable[int]]) -> int:
    """Send, and after a fault that passes try again. Only for what has a nonce: Discord takes that once.

    Raises the last fault, and those that another try would not mend at once. A send is never cut off here: discord.py
    that is cancelled while Discord's global limit lasts lets nothing out any more.
    """
    for pause_s in PAUSES_S:
        try:
            return await send()
        except PASSING as error:
            log.info("a send failed, and is tried again: %s", type(error).__name__)
            await asyncio.sleep(pause_s)
    return await send()

"""What goes wrong with Discord itself."""

import aiohttp
import discord

# What discord.py lets through besides its own errors: it retries neither a dropped connection nor 503.
DISCORD_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordException)

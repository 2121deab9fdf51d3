"""What time it is at Discord: how old a message is goes by that, and the clock of this machine may be wrong or jump."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import discord


class DiscordClock:
    """This machine's clock, put right by what Discord's answers say; before the first one it is taken as it is."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the time at Discord, as it was known at the last answer."""
        return discord.utils.utcnow() + self._ahead

    def watch(self, trace: aiohttp.TraceConfig) -> None:
        """Learn the time from each answer that the trace sees."""

        async def ended(_session: object, _context: object, end: aiohttp.TraceRequestEndParams) -> None:
            self.learn(end.response.headers.get("Date", ""))

        trace.on_request_end.append(ended)

    def learn(self, date: str) -> None:
        """Take over the time of an HTTP header; what is none is passed over."""
        try:
            said = parsedate_to_datetime(date)
        except ValueError:
            return
        if said.tzinfo is None:
            said = said.replace(tzinfo=UTC)
        self._ahead = said - discord.utils.utcnow()

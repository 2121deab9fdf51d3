"""What all requests to Discord have in common: how long one may take, and that a refused one is not made for ever.

Discord bans an address for an hour that makes 10,000 invalid requests in ten minutes, and may reset a token that
goes on after a 401. This stands where no request passes it by: it is a trace of aiohttp's.
"""

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

log = logging.getLogger(__name__)

ANSWER_S = 20.0
"""How long a request may take; longer is a connection that hangs. aiohttp alone would wait for five minutes."""

INVALID = 100
WINDOW_S = 600.0
"""So many invalid requests in so many seconds are the most."""

TRIES = 3
LEFT_ALONE_S = 3600.0
"""After so many refusals in a row a channel is left alone so long, or until something changes in its server."""

UNSAID_S = 60.0
"""How long to wait where we are told to, and not for how long."""

_API = "/api/"
_TALKING = re.compile(r"(?:POST .*/channels/(\d+)/(?:messages|typing|webhooks)|GET .*/channels/(\d+)/webhooks)$")
_TOKENS_OF_THEIR_OWN = ("/interactions/", "/webhooks/")


class NotAsked(aiohttp.ClientError):
    """A request was not made, because Discord refuses such requests."""


@dataclass
class _Refusals:
    """How often a channel refused us in a row, and when it did last."""

    count: int = 0
    at: float = 0.0


class Outgoing:
    """Watches requests. `rejected` is set when Discord does not accept the token any more.

    What carries a token of its own, as answers to commands do, is counted and never held back.
    """

    def __init__(self) -> None:
        self.rejected = asyncio.Event()
        self._invalid: deque[float] = deque()
        self._under_way = 0
        self._moved = asyncio.Event()
        self._channels: dict[int, _Refusals] = {}
        self._closed = False
        self._banned_until = 0.0
        self._limited_until = 0.0

    def watch(self, trace: aiohttp.TraceConfig) -> None:
        """Add itself to what discord.py hands to aiohttp."""
        trace.on_request_start.append(self._begins)
        trace.on_request_end.append(self._ends)
        trace.on_request_exception.append(self._fails)

    def left_alone(self, channel_id: int) -> bool:
        """Whether a channel refused us so often that nothing is said there."""
        refusals = self._channels.get(channel_id)
        if refusals is not None and time.monotonic() - refusals.at > LEFT_ALONE_S:
            del self._channels[channel_id]
            return False
        return refusals is not None and refusals.count >= TRIES

    def try_again(self, channel_ids: Iterable[int]) -> None:
        """Forget that these channels refused us: permissions may have changed."""
        for channel_id in channel_ids:
            self._channels.pop(channel_id, None)

    async def _begins(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, begin: aiohttp.TraceRequestStartParams
    ) -> None:
        # discord.py makes the session itself and gives it no limit. A limit around discord.py would be wrong: cut off
        # while it waits for Discord's global rate limit to end, it lets nothing out any more. This counts from the next
        # request on.
        if session.timeout.total != ANSWER_S:
            session._timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        path = begin.url.path
        context.held = path.startswith(_API) and not any(other in path for other in _TOKENS_OF_THEIR_OWN)
        if not context.held:
            return
        channel_id = _talked_to(begin.method, path)
        if self.rejected.is_set() or time.monotonic() < self._banned_until:
            raise NotAsked
        if channel_id is not None and self.left_alone(channel_id):
            raise NotAsked
        await self._room()
        self._under_way += 1
        try:
            while (wait_s := self._limited_until - time.monotonic()) > 0:  # noqa: ASYNC110  it may move meanwhile
                await asyncio.sleep(wait_s)
        except BaseException:
            self._over()  # aiohttp tells of no end where there was no beginning
            raise

    async def _room(self) -> None:
        """Wait until those that are under way cannot become too many invalid ones. Raises NotAsked when there are."""
        while True:
            while self._invalid and time.monotonic() - self._invalid[0] > WINDOW_S:
                self._invalid.popleft()
            closed, self._closed = self._closed, len(self._invalid) >= INVALID
            if self._closed:
                if not closed:
                    log.error("Discord refused %d requests, so nothing is sent for up to %g s", INVALID, WINDOW_S)
                raise NotAsked
            if len(self._invalid) + self._under_way < INVALID:
                return
            self._moved.clear()
            await self._moved.wait()

    async def _ends(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, end: aiohttp.TraceRequestEndParams
    ) -> None:
        path, status = end.url.path, end.response.status
        scope = end.response.headers.get("X-RateLimit-Scope")
        if path.startswith(_API) and (status in (401, 403) or (status == 429 and scope != "shared")):
            self._invalid.append(time.monotonic())
        if status == 429 and "Via" not in end.response.headers:
            self._banned_for(_retry_after(end.response))
        elif status == 429 and scope == "global":
            self._limited_for(_retry_after(end.response))
        if not context.held:
            return
        self._over()
        if status == 401:
            self.rejected.set()
        channel_id = _talked_to(end.method, path)
        if channel_id is not None and status == 403:
            self._refused_by(channel_id)
        elif channel_id is not None and status < 300 and path.endswith("/messages"):
            self._channels.pop(channel_id, None)

    def _banned_for(self, seconds: float) -> None:
        """Make no request so long: it is not Discord that answers, but what stands before it and keeps us out."""
        log.error("the address is kept out, so nothing is sent for %g s", seconds)
        self._banned_until = time.monotonic() + seconds

    def _limited_for(self, seconds: float) -> None:
        """Let requests wait so long. discord.py holds back new ones, but not those that it makes again by itself."""
        self._limited_until = max(self._limited_until, time.monotonic() + seconds)

    def _refused_by(self, channel_id: int) -> None:
        refusals = self._channels.setdefault(channel_id, _Refusals())
        refusals.count, refusals.at = refusals.count + 1, time.monotonic()
        if refusals.count == TRIES:
            log.warning("channel %s refused %d times, and is left alone for a while", channel_id, TRIES)

    async def _fails(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, _fail: aiohttp.TraceRequestExceptionParams
    ) -> None:
        if context.held:
            self._over()

    def _over(self) -> None:
        self._under_way -= 1
        self._moved.set()


def _talked_to(method: str, path: str) -> int | None:
    """The channel that somebody who may not speak there would be refused in."""
    found = _TALKING.search(f"{method} {path}")
    return int(found[1] or found[2]) if found is not None else None


def _retry_after(response: aiohttp.ClientResponse) -> float:
    try:
        return float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return UNSAID_S

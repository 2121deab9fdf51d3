"""What goes wrong with requests: refusals, rate limits, faults of the server, connections that break or hang.

Each before the request counted or after it. It counts what Discord would hold against us.
"""

import asyncio
import re
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KINDS = (401, 403, 429, 500, 502, 503, 504)
"""The statuses that it knows how to answer with."""

UNDER_WAY_S = 0.1
"""So long after a global limit began, others' requests may still come that were sent before it was known."""

NO = (0.0, 0.0)

Take = Callable[[], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    """Befalls the next `times` requests whose "METHOD path" the pattern is found in.

    `status` is what is answered, after the request counted if it is `committed`; 0 is no answer: the connection breaks,
    or after `hang_s` if that is set. `retry_after`, `everywhere` and `shared` are a 429's; without `via` it comes from
    Cloudflare.
    """

    route: str
    status: int
    times: int = 1
    committed: bool = False
    code: int = 0
    hang_s: float = 0.0
    retry_after: float = 0.0
    everywhere: bool = False
    shared: bool = False
    via: bool = True

    def __post_init__(self) -> None:
        if self.status not in (0, *KINDS):
            raise ValueError(f"no fault is known with the status {self.status}")
        if self.status == 429 and self.committed:
            raise ValueError("what is limited did not count")

    @property
    def invalid(self) -> bool:
        """Whether Discord counts it as an invalid request, of which 10,000 in ten minutes ban an address."""
        return self.status in (401, 403) or (self.status == 429 and not self.shared)


@dataclass
class Faults:
    """All that is to go wrong, in order, and what came of it.

    `latency_s` is what every answer takes. `early` are the requests that came inside a rate limit's window, `asked` how
    often each route was asked, with ids in it, `refused` the same for invalid requests, and `said` what was written.
    """

    planned: list[Fault] = field(default_factory=list)
    latency_s: float = 0.0
    hits: Counter[int] = field(default_factory=Counter)
    early: list[str] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    said: list[tuple[str, Any]] = field(default_factory=list)
    _closed: dict[str, tuple[float, float]] = field(default_factory=dict)
    _invalid_at: deque[float] = field(default_factory=deque)
    most_invalid: int = 0

    def plan(self, route: str, status: int, times: int = 1, **more: Any) -> None:
        """Let it go wrong so often."""
        self.planned.append(Fault(route, status, times, **more))

    async def befall(self, request: web.Request, take: Take) -> web.StreamResponse:
        """Answer a request, by what is planned for it or as it is `take`n."""
        await asyncio.sleep(self.latency_s)
        asked = f"{request.method} {request.path.removeprefix('/api/v10/')}"
        self.asked[asked] += 1
        if request.content_type == "application/json" and await request.read():
            self.said.append((asked, await request.json()))
        now = time.monotonic()
        if any(since < now < until for since, until in (self._closed.get(asked, NO), self._closed.get("", NO))):
            self.early.append(asked)
        fault = next((one for one in self.planned if one.times and re.search(one.route, asked)), None)
        if fault is None:
            return await take()
        fault.times -= 1
        self.hits[fault.status] += 1
        if fault.invalid:
            self._count_invalid(asked, now)
        if fault.status == 429 and fault.via:
            # Other routes' requests that are on their way when everything is limited could not know.
            since = now + (UNDER_WAY_S if fault.everywhere else 0)
            self._closed["" if fault.everywhere else asked] = since, now + fault.retry_after
        if fault.committed:
            await take()
        await asyncio.sleep(fault.hang_s)
        if not fault.status:
            _reset(request.transport)
            return web.Response()  # nobody gets it
        return _answer(fault)

    def _count_invalid(self, asked: str, now: float) -> None:
        self.refused[asked] += 1
        self._invalid_at.append(now)
        while now - self._invalid_at[0] > 600:
            self._invalid_at.popleft()
        self.most_invalid = max(self.most_invalid, len(self._invalid_at))


def _reset(transport: asyncio.Transport | None) -> None:
    """Break a connection as a machine does that went down: with RST."""
    if transport is not None:
        socket_ = transport.get_extra_info("socket")
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _answer(fault: Fault) -> web.Response:
    """What Discord says, with the headers that discord.py reads; its servers stand behind a proxy that adds `Via`."""
    headers = {"Via": "1.1 google"} if fault.via else {}
    said: dict[str, Any] = {"message": f"{fault.status}", "code": fault.code}
    if fault.status == 429:
        scope = "global" if fault.everywhere else "shared" if fault.shared else "user"
        headers |= {"Retry-After": str(fault.retry_after), "X-RateLimit-Scope": scope}
        if fault.everywhere:
            headers["X-RateLimit-Global"] = "true"
        elif not fault.shared and fault.via:
            headers |= {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "0", "X-RateLimit-Bucket": "bucket"}
            headers["X-RateLimit-Reset-After"] = str(fault.retry_after)
        said = {"message": "limited", "retry_after": fault.retry_after, "global": fault.everywhere}
    response = web.json_response(said, status=fault.status, headers=headers)
    response.headers["Content-Type"] = "application/json"
    return response

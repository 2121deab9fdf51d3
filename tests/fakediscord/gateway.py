"""The socket on which Discord tells what happens: sessions that begin, are lost, and go on with what they missed.

As Discord documents it (https://docs.discord.com/developers/events/gateway): every event of a session has a number;
who comes back with RESUME is told what came after the number that it names, and then RESUMED. A session ends with a
close of 1000 or 1001 from the other side, with op 9 and false, and here with code 4009.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import count
from typing import Any

from aiohttp import WSMsgType, web

Frame = dict[str, Any]

HEARTBEAT_MS = 41250
STARTS_A_DAY = 1000


class Fault(Enum):
    """How a connection is lost."""

    TORN = 1006  # the socket, without a word
    UNKNOWN = 4000
    TIMED_OUT = 4009  # and the session is over
    RECONNECT = "op 7"
    RESUMABLE = "op 9 true"
    INVALID = "op 9 false"  # and the session is over
    SILENT = "no more heartbeat is acknowledged"


@dataclass(eq=False)
class Session:
    """One that was begun by IDENTIFY: the events of it in order, and the socket if there is one."""

    name: str
    shard: int
    told: list[Frame] = field(default_factory=list)
    socket: web.WebSocketResponse | None = None


class Gateway:
    """Tells every session what happens.

    `overlap` events before the number that a RESUME names are told once more. `refuses_with` is a code with which
    every IDENTIFY is closed; with `refuses_sessions` each is told that there is no session. Nobody gets in unless it is
    `open`. `identified_at` are the times of `clock` at which one came.
    """

    def __init__(self, user: Frame, guilds: Callable[[], list[Frame]], unknown: list[str]) -> None:
        self._user, self._guilds, self._unknown = user, guilds, unknown
        self.clock: Callable[[], float] = time.monotonic
        self._numbers = count(1)
        self._sending: set[asyncio.Task[None]] = set()
        self.url = ""
        self.open = asyncio.Event()
        self.open.set()
        self.sessions: dict[str, Session] = {}
        self.silent: set[web.WebSocketResponse] = set()
        self.heartbeat_ms = HEARTBEAT_MS
        self.heartbeats = 0
        self.overlap = 0
        self.refuses_with: int | None = None
        self.refuses_sessions = False
        self.identified_at: list[float] = []
        self.resumed = 0
        self.told_again = 0
        self.changed = asyncio.Event()

    @property
    def connected(self) -> int:
        """How many sessions have a socket that hears."""
        return sum(session.socket is not None for session in self.sessions.values())

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        """Serve a socket until it is closed."""
        await self.open.wait()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._say(socket, {"op": 10, "d": {"heartbeat_interval": self.heartbeat_ms}})
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    await self._heard(socket, frame.json())
        finally:
            self._left(socket, ended=socket.close_code in (1000, 1001))
        return socket

    async def about(self, _request: web.Request) -> web.Response:
        """Answer GET /gateway/bot: where to connect, and how often still."""
        left = STARTS_A_DAY - len(self.identified_at)
        limit = {"total": STARTS_A_DAY, "remaining": left, "reset_after": 86_400_000, "max_concurrency": 1}
        response = web.json_response({"url": self.url, "shards": 1, "session_start_limit": limit})
        response.headers["Content-Type"] = "application/json"
        return response

    def tell(self, event: str, data: Frame) -> None:
        """Tell every session; one without a socket is told when it comes back."""
        for session in self.sessions.values():
            self._tell(session, event, data)

    async def lose(self, fault: Fault) -> None:
        """Lose every connection in that way."""
        for session in tuple(self.sessions.values()):
            socket, session.socket = session.socket, None
            if fault in (Fault.TIMED_OUT, Fault.INVALID):
                del self.sessions[session.name]
            if socket is None or socket.closed:
                continue
            match fault:
                case Fault.TORN:
                    _tear(socket)
                case Fault.UNKNOWN | Fault.TIMED_OUT:
                    await socket.close(code=int(fault.value))
                case Fault.RECONNECT:
                    self._say(socket, {"op": 7, "d": None})
                case Fault.RESUMABLE | Fault.INVALID:
                    self._say(socket, {"op": 9, "d": fault is Fault.RESUMABLE})
                case Fault.SILENT:
                    self.silent.add(socket)
        self.changed.set()

    async def _heard(self, socket: web.WebSocketResponse, said: Frame) -> None:
        operation = said["op"]
        if operation == 1:
            self.heartbeats += 1
            if socket not in self.silent:
                self._say(socket, {"op": 11})
        elif operation == 2:
            await self._identify(socket, said["d"])
        elif operation == 6:
            self._resume(socket, said["d"])
        elif operation not in (3, 4):
            self._unknown.append(f"gateway operation {operation}")

    async def _identify(self, socket: web.WebSocketResponse, said: Frame) -> None:
        self.identified_at.append(self.clock())
        self.changed.set()
        if self.refuses_with is not None:
            await socket.close(code=self.refuses_with)
            return
        if self.refuses_sessions:
            self._say(socket, {"op": 9, "d": False})
            return
        shard = (said.get("shard") or [0, 1])[0]
        for lost in [one for one in self.sessions.values() if one.shard == shard and one.socket is None]:
            del self.sessions[lost.name]  # nobody comes back for it
        session = Session(f"session-{next(self._numbers)}", shard, socket=socket)
        self.sessions[session.name] = session
        guilds = self._guilds()
        ready = {
            "v": 10,
            "user": self._user,
            "session_id": session.name,
            "resume_gateway_url": self.url,
            "guilds": [{"id": guild["id"], "unavailable": True} for guild in guilds],
            "application": {"id": self._user["id"], "flags": 1 << 19},
            "shard": said.get("shard"),
        }
        self._tell(session, "READY", ready)
        for guild in guilds:
            self._tell(session, "GUILD_CREATE", guild)

    def _resume(self, socket: web.WebSocketResponse, said: Frame) -> None:
        session = self.sessions.get(said["session_id"] or "")
        if session is None:
            self._say(socket, {"op": 9, "d": False})
            return
        upto = said["seq"] or 0
        for frame in session.told[max(0, upto - self.overlap) :]:
            if frame["t"] not in ("READY", "GUILD_CREATE"):
                self.told_again += frame["s"] <= upto
                self._say(socket, frame)
        session.socket = socket
        self._tell(session, "RESUMED", {})
        self.resumed += 1
        self.changed.set()

    def _left(self, socket: web.WebSocketResponse, *, ended: bool) -> None:
        self.silent.discard(socket)
        for session in [one for one in self.sessions.values() if one.socket is socket]:
            session.socket = None
            if ended:
                del self.sessions[session.name]
        self.changed.set()

    def _tell(self, session: Session, event: str, data: Frame) -> None:
        frame = {"op": 0, "s": len(session.told) + 1, "t": event, "d": data}
        session.told.append(frame)
        if session.socket is not None:
            self._say(session.socket, frame)

    def _say(self, socket: web.WebSocketResponse, frame: Frame) -> None:
        """Send it after what was said before: tasks begin in the order in which they are made."""
        sending = asyncio.get_running_loop().create_task(_send(socket, frame))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)


async def _send(socket: web.WebSocketResponse, frame: Frame) -> None:
    with suppress(ConnectionError):  # it went down meanwhile
        if not socket.closed:
            await socket.send_json(frame)


def _tear(socket: web.WebSocketResponse) -> None:
    request = socket._req
    assert request is not None
    if request.transport is not None:
        request.transport.abort()

"""`persona-chat run` in this process, on a Discord of loopback, with a port for health and metrics."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot import run
from persona_chat.settings import Settings
from tests.login_discord import LoginDiscord


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def served(settings: Settings, there: LoginDiscord) -> AsyncIterator[aiohttp.ClientSession]:
    """`persona-chat run` inside the block, with a session on its port; ended as a supervisor ends it."""
    serving = asyncio.create_task(run.serve(settings))
    base = f"http://127.0.0.1:{settings.metrics_port}"
    async with asyncio.timeout(60), aiohttp.ClientSession(base) as session:
        await asyncio.wait((serving, asyncio.create_task(there.answered.wait())), return_when="FIRST_COMPLETED")
        if serving.done():
            serving.result()
        yield session
        os.kill(os.getpid(), signal.SIGTERM)
        await serving


async def until_ready(session: aiohttp.ClientSession) -> aiohttp.ClientResponse:
    """Discord has said READY, and the library waits a moment for servers before it is."""
    ready = await session.get("/readyz")
    while ready.status != 200:
        await asyncio.sleep(0.05)
        ready = await session.get("/readyz")
    return ready

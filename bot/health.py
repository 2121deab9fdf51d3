"""A small web page for machines: `/healthz`, `/readyz`, `/metrics`. It says nothing of what people say."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot.client import PersonaBot
from bot.metrics import Measured, Metrics, Standing
from persona_chat.errors import SettingsError

log = logging.getLogger(__name__)

DATABASE_S = 2.0
"""A database that takes longer than this is none for who asks."""


class Health:
    """Whether the bot lives, whether it can answer, and its metrics. `database` says whether it answers; it blocks."""

    def __init__(self, bot: PersonaBot, engine: Measured, metrics: Metrics, database: Callable[[], bool]) -> None:
        self._bot = bot
        self._engine = engine
        self._database = database
        self._registry = metrics.registry
        self._standing = Standing(bot, engine)
        self._registry.register(self._standing)

    def app(self) -> web.Application:
        """Return what is served."""
        app = web.Application()
        app.router.add_get("/healthz", self._alive)
        app.router.add_get("/readyz", self._ready)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _alive(self, _request: web.Request) -> web.Response:
        """The event loop answers, so it lives: a restart would mend nothing that `readyz` reports."""
        return web.json_response({"alive": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        parts = {
            "discord": self._bot.connected,
            "model": self._engine.state().ready,
            "database": await self._database_answers(),
        }
        return web.json_response(parts, status=200 if all(parts.values()) else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        self._standing.database_ok = await self._database_answers()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(DATABASE_S):
                return await asyncio.to_thread(self._database)
        except TimeoutError:
            return False


@asynccontextmanager
async def watched(health: Health, host: str, port: int) -> AsyncIterator[int]:
    """Serve it inside the block; yields the port. Raises SettingsError when the port cannot be had."""
    runner = web.AppRunner(health.app(), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise SettingsError(
                f"PERSONA_CHAT_METRICS_PORT: port {port} of {host} cannot be had ({error.strerror}). Choose another."
            ) from None
        served: int = runner.addresses[0][1]
        log.info("health and metrics on http://%s:%s", host, served)
        yield served
    finally:
        await runner.cleanup()

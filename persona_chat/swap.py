"""Putting an adapter in service where an engine runs: the engine takes it, and then the pointer moves."""

import asyncio
from contextlib import suppress
from pathlib import Path

from persona_chat.engine.reply import ReplyEngine
from persona_chat.errors import AdapterRefused, EngineFailed, InputError
from persona_chat.language import N_, _
from persona_chat.registry import Registry, find_adapter
from persona_chat.serving import Serving
from persona_chat.settings import Settings

PINNED = N_(
    "PERSONA_CHAT_ADAPTER says which adapter serves, whatever is chosen here. Take it out of the settings and start "
    "again to choose."
)


class Swap:
    """Exchanges the adapter in service, one exchange at a time. Without an engine only the pointer moves."""

    def __init__(self, settings: Settings, registry: Registry, engine: ReplyEngine | None) -> None:
        self._settings = settings
        self._registry = registry
        self._engine = engine
        self._one = asyncio.Lock()

    def serving(self) -> Serving:
        """Return which adapter serves now. Reads the disk and the database."""
        if self._settings.adapter is not None:
            return Serving(None, find_adapter(self._settings.adapter, self._settings.data_dir), followed=False)
        name = self._registry.in_service()
        return Serving(name, self._folder(name), followed=True)

    async def use(self, name: str | None, why: str) -> None:
        """Put an adapter of the registry in service, None for the plain base.

        Raises InputError and AdapterRefused; what served goes on serving then.
        """
        async with self._one:
            before = await asyncio.to_thread(self._choosable)
            await self._take(await asyncio.to_thread(self._folder, name))
            try:
                await asyncio.to_thread(self._registry.use, name, why)
            except BaseException:
                await self._take(before.folder)
                raise

    async def rollback(self) -> str | None:
        """Put the adapter that was in service before in service again; return its name.

        Raises InputError when there was none, AdapterRefused when it is not sound any more.
        """
        async with self._one:
            before = await asyncio.to_thread(self._choosable)
            name = await asyncio.to_thread(self._registry.rollback)
            try:
                await self._take(await asyncio.to_thread(self._folder, name))
            except (AdapterRefused, InputError):
                await asyncio.to_thread(self._registry.use, before.name, "rollback refused")
                raise
            return name

    def _choosable(self) -> Serving:
        serving = self.serving()
        if not serving.followed:
            raise InputError(_(PINNED))
        return serving

    async def _take(self, folder: Path | None) -> None:
        # An engine that rests or is closed takes nothing; it will look at the pointer when it is there again.
        if self._engine is not None:
            with suppress(EngineFailed):
                await self._engine.use(folder)

    def _folder(self, name: str | None) -> Path | None:
        return self._registry.folder(name) if name is not None else None

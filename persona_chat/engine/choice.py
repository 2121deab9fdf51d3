"""Which engine the settings mean. Importing it imports no torch."""

from pathlib import Path

from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import Progress, ReplyEngine, Wait, plainly
from persona_chat.settings import Settings


def engine_for(
    settings: Settings, *, adapter: Path | None = None, progress: Progress | None = None, wait: Wait = plainly
) -> ReplyEngine:
    """Return the engine, not started. `adapter` is the folder of the adapter that it starts with; see LocalEngine."""
    if settings.engine == "local":
        return LocalEngine(settings, adapter=adapter, progress=progress, wait=wait)
    from persona_chat.engine.remote import RemoteEngine

    return RemoteEngine(settings, adapter=adapter, wait=wait)

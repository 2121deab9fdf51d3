"""Which adapter a process serves: what its settings say, else what the registry's pointer says."""

from dataclasses import dataclass
from pathlib import Path

from persona_chat.engine import base
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.registry import find_adapter, kept_folder, unchosen
from persona_chat.settings import Settings
from persona_chat.store.services import look


@dataclass(frozen=True)
class Serving:
    """Which adapter serves. `name` is the registry's, where it is one of it; without a folder it is the plain base.

    `followed` says whether the pointer decided it; then later moves of it count too.
    """

    name: str | None
    folder: Path | None
    followed: bool


def to_serve(settings: Settings, url: str) -> Serving:
    """Return which adapter serves: the setting's, else the pointer's in the database at `url`, else the shipped one.

    Changes nothing and makes no database. Raises AdapterRefused when the adapter is not there, DatabaseUnusable.
    """
    if settings.adapter is not None:
        folder = find_adapter(settings.adapter, settings.data_dir)
        return Serving(None, folder, followed=False)
    pointer = look(url)
    name = pointer.adapter if pointer is not None else unchosen(base.name_of(settings))
    try:
        folder = kept_folder(name, settings.data_dir) if name is not None else None
    except InputError:
        raise AdapterRefused(
            f"The adapter {name} is in service, and it is not in {settings.data_dir} any more. Put another one in "
            "service (`persona-chat adapters use NAME`, or `none`; with `--demo` for the demo), or set "
            "PERSONA_CHAT_ADAPTER."
        ) from None
    return Serving(name, folder, followed=True)

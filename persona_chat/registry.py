"""The adapters that are kept here, and the one pointer that says which of them is in service.

An adapter of the registry is a folder `<data folder>/adapters/NAME`; `default` is the one that comes with the
package. The pointer is the store's. No torch here: what needs the model, the engine checks when it loads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from persona_chat.engine.reply import ReplyEngine
from persona_chat.settings import Settings
from persona_chat.store.store import Store

NONE = "none"
"""How the plain base is called where a name is asked for."""


@dataclass(frozen=True)
class Entry:
    """An adapter of the registry as its card describes it; no weights were read. `created` is an ISO time."""

    name: str
    folder: Path
    in_service: bool
    template: str | None = None
    base: str | None = None
    created: str | None = None
    scores: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Serving:
    """Which adapter a process is to serve. `name` is the registry's, where it is one of it; no folder, plain base.

    `followed` says whether the pointer decided it, and later moves of it count too.
    """

    name: str | None
    folder: Path | None
    followed: bool


class Registry:
    """The adapters in a data folder and the pointer in a store, for one base (`embedded`, a hub id, or a folder)."""

    def __init__(self, data_dir: Path, store: Store, base: str) -> None:
        self._data_dir = data_dir
        self._store = store
        self._base = base

    def list(self) -> tuple[Entry, ...]:
        """Return every adapter, the shipped one first, then by name."""
        raise NotImplementedError

    def show(self, name: str) -> Entry:
        """Return one adapter. Raises InputError when there is none of this name."""
        raise NotImplementedError

    def in_service(self) -> str | None:
        """Return the name of the adapter in service, None for the plain base.

        Where nothing was ever chosen that is the shipped one, if it is there and for this base.
        """
        raise NotImplementedError

    def import_(self, source: str, *, name: str | None = None, template: str | None = None) -> Entry:
        """Copy an adapter from a folder or a hub id into the registry, whole or not at all; it is not in service then.

        `template` is needed where the source has no card. Raises InputError for a name that cannot be used or is
        taken by another adapter, AdapterRefused when the adapter does not pass its checks.
        """
        raise NotImplementedError

    def use(self, name: str | None, why: str = "use") -> None:
        """Check the adapter again and put it in service; None is the plain base. Raises InputError, AdapterRefused.

        Moves the pointer and nothing else: an engine follows it, or has loaded the adapter already.
        """
        raise NotImplementedError

    def rollback(self, why: str = "rollback") -> str | None:
        """Put that adapter in service again which was before the one that is; return its name.

        Raises InputError when there is none, AdapterRefused when it is not sound any more.
        """
        raise NotImplementedError

    def remove(self, name: str) -> None:
        """Delete an adapter. Raises InputError for the one in service and for the shipped one."""
        raise NotImplementedError

    def folder(self, name: str) -> Path:
        """Return the adapter's folder. Raises InputError when there is none of this name."""
        raise NotImplementedError

    async def follow(self, engine: ReplyEngine, serving: str | None, *, every_s: float = 2.0) -> NoReturn:
        """Keep the engine on the adapter that the pointer names, until cancelled; `serving` is what it started with.

        What the engine refuses is logged, and the pointer put back to what serves.
        """
        raise NotImplementedError


def find_adapter(wanted: str, data_dir: Path) -> Path | None:
    """Return the folder that `wanted` means: a path, a name of the registry, or `none` (None).

    Raises AdapterRefused when there is no such adapter.
    """
    raise NotImplementedError


def to_serve(settings: Settings, url: str) -> Serving:
    """Return which adapter serves: the setting's, else the pointer's in the database at `url`, else the shipped one.

    Changes nothing, and makes no database. Raises AdapterRefused when the adapter is not there.
    """
    raise NotImplementedError

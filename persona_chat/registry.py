"""The adapters that are kept here, and the one pointer that says which of them is in service.

An adapter of the registry is a folder `<data folder>/adapters/NAME`; `default` is the one that comes with the
package. The pointer is the store's. No torch here: what needs the model, the engine checks when it loads.
"""

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from persona_chat import adapters
from persona_chat.adapters import CARD, SHIPPED_NAME
from persona_chat.bases import EMBEDDED, same_base
from persona_chat.engine.reply import ReplyEngine
from persona_chat.errors import AdapterRefused, DataFolderUnusable, EngineFailed, InputError, trace
from persona_chat.fit import check_whole
from persona_chat.language import _
from persona_chat.store.database import DATABASE, DEMO_DATABASE, default_url
from persona_chat.store.services import look
from persona_chat.store.store import Store

NONE = "none"
"""How the plain base is called where a name is asked for."""

PUT_BACK = "put back: "
"""How the reason begins when an engine refused what was put in service: that one never served."""

REMOVING = ".removing-"
"""How the folders begin in which adapters wait for their end."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_REMEMBERED = 1000  # moves of the pointer that a rollback looks through

_log = logging.getLogger(__name__)


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


class Registry:
    """The adapters in a data folder and the pointer in a store, for one `base` (`embedded`, a hub id, or a folder)."""

    def __init__(self, data_dir: Path, store: Store, base: str) -> None:
        self._data_dir = data_dir
        self._store = store
        self.base = base

    def list(self) -> tuple[Entry, ...]:
        """Return every adapter, the shipped one first, then by name."""
        serves = self.in_service()
        return tuple(_entry(name, folder, serves) for name, folder in _kept(self._data_dir))

    def show(self, name: str) -> Entry:
        """Return one adapter. Raises InputError when there is none of this name."""
        return _entry(name, self.folder(name), self.in_service())

    def folder(self, name: str) -> Path:
        """Return the adapter's folder. Raises InputError when there is none of this name."""
        return kept_folder(name, self._data_dir)

    def in_service(self) -> str | None:
        """Return the name of the adapter in service, None for the plain base.

        Where nothing was ever chosen that is the shipped one, if it is there and for this base.
        """
        pointer = self._store.adapter_in_service()
        return pointer.adapter if pointer is not None else unchosen(self.base)

    def import_(self, source: str, *, name: str | None = None, template: str | None = None) -> Entry:
        """Copy an adapter from a folder or a hub id into the registry, whole or not at all; it is not in service then.

        `template` is needed where the source has no card. The same adapter under the same name may be imported
        again. Raises InputError for a name that cannot be used or is taken by another adapter, AdapterRefused when
        the adapter cannot be had or does not pass its checks, DataFolderUnusable.
        """
        from persona_chat.imports import import_adapter

        made = import_adapter(source, self._data_dir, self.base, name=name, template=template)
        return self.show(made)

    def use(self, name: str | None, why: str = "use") -> None:
        """Check the adapter again and put it in service; None is the plain base. Raises InputError, AdapterRefused.

        Moves the pointer and nothing else: an engine follows it, or has loaded the adapter already.
        """
        if name is not None:
            check_whole(self.folder(name), self.base)
        self._store.put_in_service(name, why)

    def rollback(self, why: str = "rollback") -> str | None:
        """Put that adapter in service again which was before the one that is; return its name.

        A second rollback undoes the first. Raises InputError when there is none, AdapterRefused when it is not sound
        any more.
        """
        before = self._before()
        self.use(before, why)
        return before

    def remove(self, name: str) -> None:
        """Delete an adapter. Raises InputError for the one in service and for the shipped one."""
        folder = self.folder(check_name(name))
        # The bot's database and the demo's share the folder.
        looks = [look(default_url(self._data_dir, file)) for file in (DATABASE, DEMO_DATABASE)]
        if name in (self.in_service(), *(pointer.adapter for pointer in looks if pointer is not None)):
            raise InputError(
                f"{name} is in service, so it stays. Put another one in service first "
                "(`persona-chat adapters use NAME`, or `none`; with `--demo` for the demo)."
            )
        with writable(folder.parent), tempfile.TemporaryDirectory(prefix=REMOVING, dir=folder.parent) as removing:
            # First out of sight: whatever happens while files go, no half adapter has a name.
            folder.rename(Path(removing) / name)

    async def follow(self, engine: ReplyEngine, serving: str | None, *, every_s: float = 2.0) -> NoReturn:
        """Keep the engine on the adapter that the pointer names, until cancelled; `serving` is what it started with.

        What the engine refuses is logged, and the pointer put back to what serves.
        """
        trouble = ""
        while True:
            try:
                serving = await self._catch_up(engine, serving)
                trouble = ""
            except Exception as error:
                # Nobody awaits this task: it goes on whatever happens, and says the same only once.
                if trouble != (trouble := repr(type(error))):
                    _log.error("which adapter is in service could not be followed: %s", trace(error))
            await asyncio.sleep(every_s)

    async def _catch_up(self, engine: ReplyEngine, serving: str | None) -> str | None:
        wanted = await asyncio.to_thread(self.in_service)
        if wanted == serving:
            return serving
        try:
            await engine.use(self.folder(wanted) if wanted is not None else None)
        except EngineFailed:  # it is closed, or was never started
            return serving
        except (AdapterRefused, InputError) as error:
            _log.warning("the adapter %s was put in service, and %s goes on: %s", wanted, serving or "the base", error)
            await asyncio.to_thread(self._store.put_back, wanted, serving, f"{PUT_BACK}{error}")
            return serving
        return wanted

    def _before(self) -> str | None:
        moves = self._store.services(_REMEMBERED)
        for newer, move in pairwise(moves):
            if move.adapter != moves[0].adapter and not newer.why.startswith(PUT_BACK):
                return move.adapter
        first = unchosen(self.base)
        if not moves or len(moves) == _REMEMBERED or first == moves[0].adapter:
            raise InputError(_("No other adapter was in service before this one."))
        return first


def check_name(name: str) -> str:
    """Return the name, if an adapter may have it. Raises InputError, also for the names that mean something else."""
    if _NAME.fullmatch(name) is None:
        raise InputError(
            _(
                "{name} cannot be an adapter's name: up to 64 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first."
            ).format(name=repr(name))
        )
    if name in (SHIPPED_NAME, NONE):
        raise InputError(f"{name!r} is taken: it means {'the shipped adapter' if name != NONE else 'no adapter'}.")
    return name


def kept_folder(name: str, data_dir: Path) -> Path:
    """Return the folder of the registry's adapter of this name. Raises InputError when there is none."""
    folder = adapters.SHIPPED if name == SHIPPED_NAME else adapters_folder(data_dir) / check_name(name)
    if not (folder / CARD).is_file() or folder.is_symlink():
        raise InputError(
            _("There is no adapter {name}. `persona-chat adapters list` shows those that are there.").format(name=name)
        )
    return folder


def adapters_folder(data_dir: Path) -> Path:
    """Return the folder that holds the adapters of a data folder."""
    return data_dir / "adapters"


def unchosen(base: str) -> str | None:
    """Return the name of what is in service on this base when nobody ever chose."""
    shipped = (adapters.SHIPPED / CARD).is_file() and same_base(base, EMBEDDED)
    return SHIPPED_NAME if shipped else None


def find_adapter(wanted: str, data_dir: Path) -> Path | None:
    """Return the folder that `wanted` means: a name of the registry, a path, or `none` (no folder).

    Raises AdapterRefused when there is no such adapter.
    """
    if wanted == NONE:
        return None
    try:
        return kept_folder(wanted, data_dir)
    except InputError:
        folder = Path(wanted).expanduser()
    if not folder.is_dir():
        raise AdapterRefused(
            f"There is no adapter {wanted}: it is neither a name of `persona-chat adapters list` nor a folder."
        )
    return folder


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses in the folder into DataFolderUnusable."""
    try:
        yield
    except OSError as error:
        raise DataFolderUnusable(
            f"{folder} cannot be changed ({error.strerror or error}). Make room there or make it writable, or set "
            "PERSONA_CHAT_DATA_DIR."
        ) from None


def _kept(data_dir: Path) -> Iterator[tuple[str, Path]]:
    if (adapters.SHIPPED / CARD).is_file():
        yield SHIPPED_NAME, adapters.SHIPPED
    folder = adapters_folder(data_dir)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _NAME.fullmatch(path.name) and (path / CARD).is_file() and not path.is_symlink():
            yield path.name, path


def _entry(name: str, folder: Path, serves: str | None) -> Entry:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        card = None
    card = card if isinstance(card, dict) else {}
    texts = {key: card[key] for key in ("template", "base", "created") if isinstance(card.get(key), str)}
    scores = card.get("scores")
    return Entry(name, folder, name == serves, **texts, scores=scores if isinstance(scores, dict) else {}, card=card)

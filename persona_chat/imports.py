"""Bringing an adapter into the registry: from a folder or the hub, checked, copied whole or not at all."""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from persona_chat.adapters import CARD, CONFIG, WEIGHTS, Adapter, read_adapter, refuse
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.fit import check_whole
from persona_chat.registry import REMOVING, adapters_folder, check_name, writable
from persona_chat.store.backup import sync
from persona_chat.template import FORMS

_FORM = 1  # of the card
_FILES = (CONFIG, WEIGHTS, CARD)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_TEMPORARY = ".importing-"
_LEFTOVER_S = 3600.0


def import_adapter(source: str, data_dir: Path, base: str, *, name: str | None, template: str | None) -> str:
    """Copy the adapter into the registry and return its name there; see Registry.import_."""
    if template is not None and template not in FORMS:
        raise InputError(f"There is no template {template!r}; there are {' and '.join(FORMS)}.")
    name = check_name(name) if name is not None else _name_of(source)
    registry = adapters_folder(data_dir)
    with writable(registry):
        registry.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_leftovers(registry)
        with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=registry) as temporary:
            folder = Path(source).expanduser()
            if not folder.exists() and _HUB_ID.fullmatch(source):
                folder = _fetched(source, Path(temporary) / "fetched")
            with _called(source):
                adapter = check_whole(folder, base)
                made = _copied(adapter, _card(adapter, source, base, template), Path(temporary) / "made")
                read_adapter(made)  # the source may have changed meanwhile
            _put(made, registry / name, name)
    return name


def _name_of(source: str) -> str:
    last = Path(source).expanduser().absolute().name
    name = re.sub(r"[^a-z0-9._-]+", "-", last.casefold()).strip("-._")[:64]
    try:
        return check_name(name)
    except InputError:
        raise InputError(f"Say with --name how the adapter {source} shall be called here.") from None


def _fetched(hub_id: str, into: Path) -> Path:
    """Get the adapter's files from the hub, and none of the others."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    try:
        snapshot_download(hub_id, local_dir=into, allow_patterns=list(_FILES))
    except (OSError, ValueError) as error:
        raise AdapterRefused(
            f"The adapter {hub_id} could not be had from the hub ({type(error).__name__}). Check the name and the "
            "network, and whether it needs HF_TOKEN; or get its files elsewhere and import the folder."
        ) from None
    into.mkdir(exist_ok=True)  # none of the files is there
    return into


@contextmanager
def _called(source: str) -> Iterator[None]:
    """Let a refusal name what the person named, not a folder that is gone by then."""
    try:
        yield
    except AdapterRefused as error:
        reason = str(error).partition(" is not used: ")[2]
        raise AdapterRefused(f"The adapter {source} is not imported: {reason or error}") from None


def _card(adapter: Adapter, source: str, base: str, template: str | None) -> bytes:
    """Return the card to keep: the source's own, or one that says what the person says."""
    if (adapter.folder / CARD).is_file():
        if template is not None and template != adapter.template:
            refuse(adapter.folder, f"its card names the template {adapter.template!r}, and not {template!r}.")
        return (adapter.folder / CARD).read_bytes()
    if template is None:
        raise InputError(
            f"{source} has no {CARD} that says in which form its prompts were. Say it with --template: {FORMS[0]}, "
            f"or {FORMS[1]} for adapters of the original project."
        )
    card = {
        "form": _FORM,
        "template": template,
        "weights_sha256": adapter.weights_sha256,
        "base": str(Path(base).resolve()) if Path(base).is_dir() else base,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "imported_from": source,
        "scores": {},
    }
    return json.dumps(card, indent=1).encode() + b"\n"


def _copied(adapter: Adapter, card: bytes, into: Path) -> Path:
    into.mkdir(mode=0o700)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(adapter.folder / name, into / name)
    (into / CARD).write_bytes(card)  # last: where it is, the whole is there
    for path in (*into.iterdir(), into):
        sync(path)
    return into


def _put(made: Path, folder: Path, name: str) -> None:
    """Give the copy its name, unless something else has it."""
    if os.path.lexists(folder):
        if not _alike(made, folder):
            raise InputError(f"There is another adapter called {name} already. Choose another --name.")
        return
    made.rename(folder)
    sync(folder.parent)


def _alike(one: Path, other: Path) -> bool:
    """Whether two folders hold adapters that would give the same replies."""
    try:
        if other.is_symlink() or not (other / CARD).is_file():
            return False  # a link leads out of the registry
        return read_adapter(one).name.rpartition("@")[2] == read_adapter(other).name.rpartition("@")[2]
    except AdapterRefused:
        return False


def _remove_leftovers(registry: Path) -> None:
    """Remove what a killed import or removal left; a young one may belong to a process that still works on it."""
    for left in (*registry.glob(f"{_TEMPORARY}*"), *registry.glob(f"{REMOVING}*")):
        if time.time() - left.stat().st_mtime > _LEFTOVER_S:
            shutil.rmtree(left, ignore_errors=True)

"""The card of an adapter: what it was made from. Written last, so that its presence means that the whole is there."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from persona_chat import __version__
from persona_chat.adapters import CARD, WEIGHTS
from persona_chat.errors import InputError
from persona_chat.template import TEMPLATE_ID
from training.recipe import Recipe

_PACKAGES = ("torch", "transformers", "peft", "trl", "unsloth", "bitsandbytes", "tokenizers", "datasets")

# Of a data set of the hub, by its exact id. A file says it in `<file>.source.json` beside it, and nothing else does: a
# name alone proves nothing about where a file comes from.
_OF_HUB = {
    "Cynaptics/persona-chat": {
        "provenance": "Synthetic-Persona-Chat (Jandaghi et al. 2023, arXiv:2312.10007), cut into rows",
        "licence": "CC BY 4.0",
    },
}


@dataclass(frozen=True)
class Source:
    """One source of rows: what it is called, its file's hash where it is one, and where it comes from."""

    source: str
    sha256: str | None
    rows: int
    provenance: str
    licence: str


def describe_source(source: str, rows: int) -> Source:
    """Say what is known about a source. Raises InputError when `<file>.source.json` beside it cannot be read."""
    path = Path(source).expanduser()
    if not path.is_file():
        about = _OF_HUB.get(source, {})
        return Source(source, None, rows, *_origin(about))
    return Source(path.name, sha256_of(path), rows, *_origin(_beside(path)))


def source_file(data: Path) -> Path:
    """Return the file that says where a data file comes from: an object with `provenance` and `licence`."""
    return data.with_name(f"{data.name}.source.json")


def _beside(data: Path) -> dict[str, Any]:
    file = source_file(data)
    if not file.is_file():
        return {}
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise InputError(f"{file.name}: expected a JSON object with `provenance` and `licence`. Mend it or remove it.")
    return about


def _origin(about: Mapping[str, Any]) -> tuple[str, str]:
    return str(about.get("provenance", "given by the operator")), str(about.get("licence", "not stated"))


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what trained, without what is not installed."""
    found = {"persona-chat": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_card(
    folder: Path,
    *,
    base: str,
    base_sha256: str | None,
    recipe_name: str,
    recipe: Recipe,
    sources: Sequence[Source],
    steps: int,
    backend: str,
    init: str | None,
    losses: tuple[float, float],
) -> None:
    """Write the card for the weights in the folder. `losses` are the first and last training loss, smoothed."""
    card: dict[str, Any] = {
        "form": 1,
        "template": TEMPLATE_ID,
        "weights_sha256": sha256_of(folder / WEIGHTS),
        "base": base,
        "base_sha256": base_sha256,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": {"name": recipe_name, **asdict(recipe)},
        "data": [asdict(source) for source in sources],
        "seed": recipe.seed,
        "steps": steps,
        "backend": backend,
        "versions": versions(),
        "init": init,
        "training_loss": {"first": losses[0], "last": losses[1]},
        "scores": {},
    }
    write_whole(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    beside = file.with_name(f".{file.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.rename(file)

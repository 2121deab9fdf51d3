"""The card of an adapter: what it was made from. Written last, so that its presence means that the whole is there."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from persona_chat import __version__
from persona_chat.adapters import CARD, WEIGHTS
from persona_chat.template import TEMPLATE_ID
from training.recipe import Recipe

_PACKAGES = ("torch", "transformers", "peft", "trl", "unsloth", "bitsandbytes", "tokenizers", "datasets")

# What is known of public data by its name; a file beside the data, `<file>.source.json`, says it of others.
_KNOWN = {
    "Cynaptics/persona-chat": {
        "provenance": "Synthetic-Persona-Chat (Jandaghi et al. 2023, arXiv:2312.10007), cut into rows",
        "licence": "CC BY 4.0",
    },
    "spc_": {
        "provenance": "Synthetic-Persona-Chat (Jandaghi et al. 2023, arXiv:2312.10007), cut into rows, conversations "
        "with unfilled placeholders dropped",
        "licence": "CC BY 4.0",
    },
    "dialogues.jsonl": {"provenance": "written for this project", "licence": "Apache-2.0"},
    "facts": {"provenance": "made by rule (training/fact_dialogues.py)", "licence": "Apache-2.0"},
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
    """Say what is known about a source: by its name, or by a file `<file>.source.json` beside it."""
    path = Path(source).expanduser()
    about = next((known for name, known in _KNOWN.items() if path.name.startswith(name) or source == name), {})
    beside = path.with_name(f"{path.name}.source.json")
    if beside.is_file():
        about = json.loads(beside.read_text(encoding="utf-8"))
    return Source(
        source=path.name if path.is_file() else source,
        sha256=sha256_of(path) if path.is_file() else None,
        rows=rows,
        provenance=str(about.get("provenance", "given by the operator")),
        licence=str(about.get("licence", "not stated")),
    )


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

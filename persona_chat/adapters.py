"""Adapter folders: reading one and refusing what must not be served. No torch here; `engine.lora` does the rest.

A folder holds `adapter_config.json` and `adapter_model.safetensors` as PEFT writes them, and a `card.json` when
our trainer made it. Published PEFT adapters have no card and are taken on their shapes alone.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError, safe_open

from persona_chat.errors import AdapterRefused
from persona_chat.template import TEMPLATE_ID

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "card.json"

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
_DTYPES = {"F32", "F16", "BF16"}
_KEY = re.compile(r"base_model\.model\.(model\.layers\.(\d+)\.\w+\.(\w+))\.lora_([AB])\.weight")

# What a config may say beside what is read below. Every other field must be off (null, false or empty): most of
# them change how the weights act, and some name code to import.
_HARMLESS = {
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
}
_MUST_BE: dict[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),  # others change the base's own weights
}
_READ = {"r", "lora_alpha", "target_modules", "use_rslora"}


@dataclass(frozen=True)
class Adapter:
    """An adapter folder that passed every check that needs no model. `shapes` are by tensor name."""

    folder: Path
    name: str  # "<folder>@<first 8 of the weights' sha256>", new for every version
    weights_sha256: str
    base: str | None  # the base its card was trained on
    rank: int
    alpha: float
    rank_stabilized: bool
    target_modules: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def weights(self) -> Path:
        """The file with the weights."""
        return self.folder / WEIGHTS


def read_adapter(folder: Path) -> Adapter:
    """Read and check an adapter folder. Raises AdapterRefused that says what is wrong with it."""
    _check_files(folder)
    config = _read_config(folder)
    digest = _sha256(folder / WEIGHTS)
    base = _read_card(folder, digest)
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name) or "adapter"
    adapter = Adapter(
        folder=folder,
        # PEFT warns about, and reinitialises, names that are part of "lora_"; with "@" none is.
        name=f"{slug}@{digest[:8]}",
        weights_sha256=digest,
        base=base,
        rank=config["r"],
        alpha=config["lora_alpha"],
        rank_stabilized=config.get("use_rslora", False),
        target_modules=tuple(sorted(config["target_modules"])),
        shapes=_read_shapes(folder),
    )
    _check_shapes(adapter)
    return adapter


def refuse(folder: Path, reason: str) -> NoReturn:
    """Raise AdapterRefused for the folder."""
    raise AdapterRefused(f"The adapter in {folder} is not used: {reason}")


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        refuse(folder, "there is no such folder.")
    root = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            refuse(folder, f"{path.name} is a link to outside of it. Copy the file itself (cp -L).")
        if path.suffix in _PICKLES:
            refuse(folder, f"{path.name} is a pickle file, which can run code. Only safetensors are loaded.")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            refuse(folder, f"it has no {name}.")


def _read_config(folder: Path) -> dict[str, Any]:
    config = _read_json(folder, CONFIG)
    for field, allowed in _MUST_BE.items():
        if config.get(field, allowed[0]) not in allowed:
            refuse(folder, f"`{field}` of its {CONFIG} is not {_listed(allowed)}.")
    # An empty value in any form is "off"; 0 is not among them, for no field of PEFT uses it so.
    for field in sorted(set(config) - _HARMLESS - set(_MUST_BE) - _READ):
        if config[field] not in (None, False, "", [], {}):
            refuse(folder, f"`{field}` of its {CONFIG} is set, and such adapters are not served.")
    if not _is_number(config.get("r")) or not isinstance(config["r"], int) or config["r"] < 1:
        refuse(folder, f"the rank `r` of its {CONFIG} is not a whole number above 0.")
    if not _is_number(config.get("lora_alpha")) or not config["lora_alpha"] > 0:
        refuse(folder, f"`lora_alpha` of its {CONFIG} is not a number above 0.")
    if not isinstance(config.get("use_rslora", False), bool):
        refuse(folder, f"`use_rslora` of its {CONFIG} is neither true nor false.")
    modules = config.get("target_modules")
    if not isinstance(modules, list) or not modules or not all(isinstance(module, str) for module in modules):
        refuse(folder, f"`target_modules` of its {CONFIG} is not a list of names.")
    return config


def _read_card(folder: Path, digest: str) -> str | None:
    """Check the card, where there is one, and return the base that it names."""
    if not (folder / CARD).is_file():
        return None
    card = _read_json(folder, CARD)
    if card.get("template") != TEMPLATE_ID:
        refuse(folder, f"its card names the template {card.get('template')!r}, and {TEMPLATE_ID!r} is served.")
    if card.get("weights_sha256") != digest:
        refuse(folder, f"{WEIGHTS} is not the file its card was written for (the sha256 differs).")
    base = card.get("base")
    if base is not None and not isinstance(base, str):
        refuse(folder, "`base` of its card is not text.")
    return base


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        refuse(folder, f"{name} cannot be read as JSON.")
    if not isinstance(content, dict):
        refuse(folder, f"{name} is not a JSON object.")
    return content


def _read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes by tensor name, from the header of the file."""
    shapes = {}
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118  not a dict
                part = weights.get_slice(key)
                if part.get_dtype() not in _DTYPES:
                    refuse(folder, f"{key} holds {part.get_dtype()}, not floating-point numbers.")
                shapes[key] = tuple(part.get_shape())
    except (SafetensorError, OSError) as error:
        raise AdapterRefused(f"The adapter in {folder} is not used: {WEIGHTS} is damaged.") from error
    return shapes


def _check_shapes(adapter: Adapter) -> None:
    """Refuse unless the tensors are exactly an A [rank, in] and a B [out, rank] for each module of each layer."""
    layers: set[int] = set()
    modules: dict[str, set[str]] = {}
    for key, shape in adapter.shapes.items():
        match = _KEY.fullmatch(key)
        if match is None or match[3] not in adapter.target_modules:
            refuse(adapter.folder, f"the tensor {key} does not belong to its target modules.")
        if len(shape) != 2 or shape[0 if match[4] == "A" else 1] != adapter.rank:
            refuse(adapter.folder, f"{key} has the shape {list(shape)}, which does not fit rank {adapter.rank}.")
        layers.add(int(match[2]))
        modules.setdefault(match[1], set()).add(match[4])
    if layers != set(range(len(layers))) or len(modules) != len(layers) * len(adapter.target_modules):
        refuse(adapter.folder, "some of its tensors are missing.")
    for module, halves in modules.items():
        if halves != {"A", "B"}:
            refuse(adapter.folder, f"half of {module} is missing.")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _listed(values: tuple[object, ...]) -> str:
    return " or ".join(json.dumps(value) for value in values)

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

import numpy as np
from safetensors import SafetensorError, deserialize

from persona_chat.errors import AdapterRefused
from persona_chat.template import FORMS, TEMPLATE_ID

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
CARD = "card.json"

SHIPPED = Path(__file__).parent / "default_adapter"
"""The adapter for the embedded model that comes with the package, in the versions that have one."""
SHIPPED_NAME = "default"

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
# The bits of the exponent by type, all set in what is infinite or no number. numpy knows no bfloat16.
_EXPONENTS = {"F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}
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
    name: str  # "<folder>@<8 hexadecimal digits>", another one for whatever would change a reply
    weights_sha256: str
    template: str  # the form of its prompts
    base: str | None  # what its card says it was trained on
    base_sha256: str | None  # of that base's weights, where the card has it
    made_for: str | None  # the base that its config names, as its trainer called it
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
    content = _read_bytes(folder / WEIGHTS)
    digest = hashlib.sha256(content).hexdigest()
    card = _read_card(folder, digest)
    adapter = Adapter(
        folder=folder,
        name=_versioned(folder, digest, config, card["template"]),
        weights_sha256=digest,
        template=card["template"],
        base=card.get("base"),
        base_sha256=card.get("base_sha256"),
        made_for=config.get("base_model_name_or_path"),
        rank=config["r"],
        alpha=config["lora_alpha"],
        rank_stabilized=config.get("use_rslora", False),
        target_modules=tuple(sorted(config["target_modules"])),
        shapes=_read_shapes(folder, content),
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
        if field == "auto_mapping" and _of_transformers(config[field]):
            continue
        if config[field] not in (None, False, "", [], {}):
            refuse(folder, f"`{field}` of its {CONFIG} is set, and such adapters are not served.")
    if not _is_number(config.get("r")) or not isinstance(config["r"], int) or config["r"] < 1:
        refuse(folder, f"the rank `r` of its {CONFIG} is not a whole number above 0.")
    if not _is_number(config.get("lora_alpha")) or not config["lora_alpha"] > 0:
        refuse(folder, f"`lora_alpha` of its {CONFIG} is not a number above 0.")
    if not isinstance(config.get("use_rslora", False), bool):
        refuse(folder, f"`use_rslora` of its {CONFIG} is neither true nor false.")
    modules = config.get("target_modules")
    if not isinstance(config.get("base_model_name_or_path"), str | None):
        refuse(folder, f"`base_model_name_or_path` of its {CONFIG} is not text.")
    if not isinstance(modules, list) or not modules or not all(isinstance(module, str) for module in modules):
        refuse(folder, f"`target_modules` of its {CONFIG} is not a list of names.")
    return config


def _of_transformers(mapping: object) -> bool:
    """Whether it names a class of transformers, which unsloth notes; nothing is imported for it."""
    return isinstance(mapping, dict) and str(mapping.get("parent_library")).startswith("transformers.")


def _versioned(folder: Path, digest: str, config: Mapping[str, Any], form: str) -> str:
    name = SHIPPED_NAME if folder.resolve() == SHIPPED.resolve() else folder.resolve().name
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", name) or "adapter"
    acts = {field: config.get(field) for field in sorted(_READ)}
    version = hashlib.sha256(json.dumps([digest, acts, form]).encode()).hexdigest()[:8]
    # PEFT warns about, and reinitialises, names that are part of "lora_"; with "@" none is.
    return f"{slug}@{version}"


def _read_card(folder: Path, digest: str) -> dict[str, Any]:
    """Read and check the card; without one, what our own trainer would have written."""
    if not (folder / CARD).is_file():
        return {"template": TEMPLATE_ID}
    card = _read_json(folder, CARD)
    if card.get("template") not in FORMS:
        served = " and ".join(map(repr, FORMS))
        refuse(folder, f"its card names the template {card.get('template')!r}, and {served} are served.")
    if card.get("weights_sha256") != digest:
        refuse(folder, f"{WEIGHTS} is not the file its card was written for (the sha256 differs).")
    for field in ("base", "base_sha256"):
        if not isinstance(card.get(field), str | None):
            refuse(folder, f"`{field}` of its card is not text.")
    return card


def _read_bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        refuse(file.parent, f"{file.name} cannot be read ({error.strerror}).")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        refuse(folder, f"{name} cannot be read as JSON.")
    if not isinstance(content, dict):
        refuse(folder, f"{name} is not a JSON object.")
    return content


def _read_shapes(folder: Path, content: bytes) -> dict[str, tuple[int, ...]]:
    """Return the shapes by tensor name, of tensors that hold finite floating-point numbers."""
    shapes = {}
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterRefused(f"The adapter in {folder} is not used: {WEIGHTS} is damaged.") from error
    for key, tensor in tensors:
        if tensor["dtype"] not in _EXPONENTS:
            refuse(folder, f"{key} holds {tensor['dtype']}, not floating-point numbers.")
        kind, exponent = _EXPONENTS[tensor["dtype"]]
        if ((np.frombuffer(tensor["data"], kind) & exponent) == exponent).any():
            refuse(folder, f"{key} holds numbers that are not finite.")
        shapes[key] = tuple(tensor["shape"])
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
    if not layers or layers != set(range(len(layers))) or len(modules) != len(layers) * len(adapter.target_modules):
        refuse(adapter.folder, "some of its tensors are missing.")
    for module, halves in modules.items():
        if halves != {"A", "B"}:
            refuse(adapter.folder, f"half of {module} is missing.")


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _listed(values: tuple[object, ...]) -> str:
    return " or ".join(json.dumps(value) for value in values)

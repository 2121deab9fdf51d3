"""What is known of a base without loading it: when two names mean the same model, and how large its layers are."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"

# The model that is embedded, by its name on the hub, and the name of the folder in which it is converted.
_EMBEDDED_NAMES = re.compile(r"(?:(?:HuggingFaceTB|unsloth)/)?SmolLM2-135M-Instruct(?:-[0-9a-f]{8})?", re.IGNORECASE)
EMBEDDED_CONFIG: Mapping[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
}
"""Those fields of the embedded model's config.json that say how large its layers are."""

_HUB_ID = re.compile(r"([\w.-]+)/([\w.-]+)")
# unsloth publishes other people's models again, and renames those that it loads in 4-bit.
_MIRROR = "unsloth"
_QUANTISED = re.compile(r"-(?:unsloth-)?bnb-4bit$")


def same_base(one: str, other: str) -> bool:
    """Whether two names (`embedded`, a hub id, a folder) mean the same base."""
    if _plain(one) == _plain(other):
        return True
    (owner, model), (other_owner, other_model) = _parts(one), _parts(other)
    return bool(model) and model == other_model and (owner == other_owner or _MIRROR in (owner, other_owner))


def is_hub_id(base: str) -> bool:
    """Whether a base is named as the hub names it (owner/name), and not a folder here."""
    return _HUB_ID.fullmatch(base) is not None and not Path(base).expanduser().is_dir()


def config_of(base: str) -> Mapping[str, Any] | None:
    """Return the base's config.json where it is at hand: embedded, in a folder, or in the hub's cache."""
    if base == EMBEDDED:
        return EMBEDDED_CONFIG
    file: object = Path(base).expanduser() / "config.json"
    if is_hub_id(base):
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(base, "config.json")
    try:
        config = json.loads(Path(file).read_text(encoding="utf-8")) if isinstance(file, str | Path) else None
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def lora_shapes(config: Mapping[str, Any], modules: Iterable[str], rank: int) -> dict[str, tuple[int, int]] | None:
    """Return the shapes, by tensor name, of a LoRA adapter of that rank over these modules of the base.

    The names and sizes are those of Llama's architecture and its kin; None for a base or a module of another one.
    """
    try:
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        inner, layers = int(config["intermediate_size"]), int(config["num_hidden_layers"])
        keys = int(config.get("num_key_value_heads") or heads)
        head = int(config.get("head_dim") or width // heads)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    sizes = {
        "self_attn.q_proj": (width, heads * head),
        "self_attn.k_proj": (width, keys * head),
        "self_attn.v_proj": (width, keys * head),
        "self_attn.o_proj": (heads * head, width),
        "mlp.gate_proj": (width, inner),
        "mlp.up_proj": (width, inner),
        "mlp.down_proj": (inner, width),
    }
    wanted = set(modules)
    if not wanted <= {module.rpartition(".")[2] for module in sizes}:
        return None
    shapes = {}
    for module, (into, out) in sizes.items():
        if module.rpartition(".")[2] in wanted:
            for layer in range(layers):
                name = f"base_model.model.model.layers.{layer}.{module}"
                shapes[f"{name}.lora_A.weight"] = (rank, into)
                shapes[f"{name}.lora_B.weight"] = (out, rank)
    return shapes


def _plain(base: str) -> str:
    folder = Path(base).expanduser()
    is_folder = folder.is_absolute() or folder.is_dir()
    if _EMBEDDED_NAMES.fullmatch(folder.name if is_folder else base):
        return EMBEDDED
    return str(folder.resolve()) if is_folder else base


def _parts(base: str) -> tuple[str, str]:
    """Owner and model of a hub id, for comparing; of anything else nothing."""
    found = _HUB_ID.fullmatch(base) if is_hub_id(base) else None
    if found is None:
        return "", ""
    return found[1].casefold(), _QUANTISED.sub("", found[2].casefold())

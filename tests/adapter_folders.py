"""Adapter folders for tests: sound ones, made without torch, and every way in which one can be spoiled."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from persona_chat.adapters import CARD, CONFIG, WEIGHTS
from persona_chat.bases import EMBEDDED_CONFIG, lora_shapes
from persona_chat.template import TEMPLATE_ID

RANK = 4
MODULES = ("down_proj", "q_proj")
FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"


def make_adapter(
    folder: Path,
    *,
    seed: int = 0,
    made_for: str | None = "HuggingFaceTB/SmolLM2-135M-Instruct",
    config: Mapping[str, Any] = EMBEDDED_CONFIG,
    modules: Iterable[str] = MODULES,
    rank: int = RANK,
    strength: float = 0.02,
) -> Path:
    """Write a random adapter for a base of these sizes, with a config as PEFT writes it and no card."""
    folder.mkdir(parents=True)
    shapes = lora_shapes(config, modules, rank)
    assert shapes is not None
    numbers = np.random.default_rng(seed)
    save_file(
        {key: numbers.normal(0, strength, shape).astype(np.float32) for key, shape in shapes.items()}, folder / WEIGHTS
    )
    (folder / CONFIG).write_text(json.dumps(peft_config(made_for, modules, rank, 2 * rank)))
    return folder


def peft_config(made_for: str | None, modules: Iterable[str], rank: int, alpha: int) -> dict[str, Any]:
    """What PEFT 0.14 writes for a plain LoRA adapter."""
    return {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": made_for,
        "bias": "none",
        "eva_config": None,
        "exclude_modules": None,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "layer_replication": None,
        "layers_pattern": None,
        "layers_to_transform": None,
        "loftq_config": {},
        "lora_alpha": alpha,
        "lora_bias": False,
        "lora_dropout": 0,
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {},
        "revision": "unsloth",
        "target_modules": list(modules),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }


def write_card(folder: Path, **changes: object) -> None:
    """Write the card that fits the folder's weights, with these changes."""
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    card = {"template": TEMPLATE_ID, "weights_sha256": digest, "base": "embedded"} | changes
    (folder / CARD).write_text(json.dumps(card))


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | changes))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the arrays, by name. A card that was there is written anew, so that it is not what gives it away."""
    arrays = load_file(folder / WEIGHTS)
    change(arrays)
    save_file(arrays, folder / WEIGHTS)
    if (folder / CARD).exists():
        write_card(folder)


def flip_a_bit(folder: Path) -> None:
    write_card(folder)
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))


def only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def checkpoint(folder: Path) -> None:
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "optimizer.pt").write_bytes(b"")


def link_outside(folder: Path) -> None:
    outside = folder.parent / "elsewhere.safetensors"
    (folder / WEIGHTS).rename(outside)
    (folder / WEIGHTS).symlink_to(outside)


def first_is(number: float) -> Callable[[dict[str, Any]], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays[FIRST].flat[0] = number

    return change


def other_width(arrays: dict[str, Any]) -> None:
    for key in [key for key in arrays if "q_proj.lora_A" in key]:
        arrays[key] = arrays[key][:, :64].copy()


def no_layer_29(arrays: dict[str, Any]) -> None:
    for key in [key for key in arrays if ".layers.29." in key]:
        del arrays[key]


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit flip": (flip_a_bit, "sha256 differs"),
    "other template": (lambda f: write_card(f, template="persona-ab-9"), "template 'persona-ab-9'"),
    "other base": (lambda f: write_card(f, base="unsloth/Llama-3.2-1B"), "trained on the base"),
    "other weights of the base": (lambda f: write_card(f, base_sha256="0" * 64), "other weights than those here"),
    "NaN": (lambda f: change_weights(f, first_is(float("nan"))), "not finite"),
    "infinity": (lambda f: change_weights(f, first_is(float("inf"))), "not finite"),
    "renamed key": (
        lambda f: change_weights(f, lambda t: t.update({FIRST.replace("q_proj", "z_proj"): t.pop(FIRST)})),
        "does not belong",
    ),
    "missing key": (lambda f: change_weights(f, lambda t: t.pop(FIRST)), "half of"),
    "missing layer": (lambda f: change_weights(f, no_layer_29), "does not fit the base"),
    "other width": (lambda f: change_weights(f, other_width), "does not fit the base"),
    "no tensors": (lambda f: change_weights(f, lambda t: t.clear()), "missing|does not fit"),
    "whole numbers": (lambda f: change_weights(f, lambda t: t.update({FIRST: t[FIRST].astype("i4")})), "holds I32"),
    "wrong rank": (lambda f: change_config(f, r=RANK + 1), "rank 5"),
    "damaged file": (lambda f: (f / WEIGHTS).write_bytes(b"\xff" * 100), "damaged|differs"),
    "pickle instead": (only_pickle, "pickle"),
    "pickle beside": (lambda f: (f / "training_args.bin").write_bytes(b""), "pickle"),
    "pickle deeper down": (checkpoint, "optimizer.pt is a pickle"),
    "link": (link_outside, "link"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), "has no adapter_model.safetensors"),
    "no config": (lambda f: (f / CONFIG).unlink(), "has no adapter_config.json"),
    "config no JSON": (lambda f: (f / CONFIG).write_text("{"), "cannot be read as JSON"),
    "card no object": (lambda f: (f / CARD).write_text("[]"), "not a JSON object"),
    "card with a number for its base": (lambda f: write_card(f, base=7), "`base` of its card"),
    "a single number": (
        lambda f: change_weights(f, lambda t: t.update({FIRST: np.array(t[FIRST].flat[0])})),
        "has the shape",
    ),
    "endless alpha": (lambda f: change_config(f, lora_alpha=float("inf")), "lora_alpha"),
    "alpha beyond floats": (lambda f: change_config(f, lora_alpha=10**400), "lora_alpha"),
    "not LoRA": (lambda f: change_config(f, peft_type="IA3"), "peft_type"),
    "code to import": (lambda f: change_config(f, auto_mapping={"parent_library": "os"}), "auto_mapping"),
    "whole modules": (lambda f: change_config(f, modules_to_save=["lm_head"]), "modules_to_save"),
    "DoRA": (lambda f: change_config(f, use_dora=True), "use_dora"),
    "changes the base": (lambda f: change_config(f, init_lora_weights="pissa"), "init_lora_weights"),
    "from the future": (lambda f: change_config(f, quantum=1), "quantum"),
    "modules by pattern": (lambda f: change_config(f, target_modules=".*"), "target_modules"),
    "a number for its base": (lambda f: change_config(f, base_model_name_or_path=7), "base_model_name_or_path"),
}

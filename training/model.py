"""The model that is trained: a base, by unsloth or by transformers and PEFT, with fresh or given LoRA weights."""

import contextlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from persona_chat.adapters import CONFIG, WEIGHTS, Adapter, read_adapter, refuse
from persona_chat.engine import base
from persona_chat.engine.cores import available_cores
from persona_chat.errors import BaseUnavailable
from persona_chat.settings import Settings
from training.recipe import Recipe


@dataclass(frozen=True)
class Trainee:
    """A PEFT model ready for steps. `eos_id` ends a reply; `half` says whether arithmetic runs in bfloat16."""

    model: Any
    tokenizer: Any
    eos_id: int
    pad_id: int
    choice: base.BaseChoice
    by_unsloth: bool
    half: bool

    @property
    def backend(self) -> str:
        """What trains, for the card: "trl+peft bf16 cpu"."""
        return f"{'unsloth' if self.by_unsloth else 'trl+peft'} {self.choice.precision} {self.choice.device_name}"


def prepare(settings: Settings, recipe: Recipe, init: Path | None, *, unsloth: bool = True) -> Trainee:
    """Load the base and put LoRA weights on it: fresh ones of the recipe's seed, or those of the adapter `init`.

    Raises BaseUnavailable, and AdapterRefused when `init` does not fit.
    """
    choice = base.choose(settings)  # LoRA learns beside the weights that it will serve with, rounded as they are
    adapter = read_adapter(init) if init is not None else None
    if adapter is not None and adapter.base not in (None, choice.base):
        refuse(adapter.folder, f"it was trained on the base {adapter.base}, and {choice.base} is trained here.")
    if unsloth and trains_by_unsloth(choice, installed=find_spec("unsloth") is not None):
        return _by_unsloth(settings, choice, recipe, adapter)
    return _by_peft(settings, choice, recipe, adapter)


def trains_by_unsloth(choice: base.BaseChoice, *, installed: bool) -> bool:
    """Whether unsloth trains this base: in 4-bit on CUDA. Its files for CPUs have another licence, and are not used."""
    return installed and choice.device != "cpu" and choice.precision == "nf4"


def _by_peft(settings: Settings, choice: base.BaseChoice, recipe: Recipe, adapter: Adapter | None) -> Trainee:
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    torch.set_num_threads(settings.threads or available_cores())
    tokenizer = base.load_tokenizer(choice, settings.data_dir)
    loaded = base.load(choice, settings.data_dir, tokenizer)
    for module in loaded.model.modules():
        # After one evaluation on its fast CPU path, bitsandbytes gives LoRA no gradients any more, and says nothing.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    set_seed(recipe.seed)
    config = LoraConfig(
        r=adapter.rank if adapter else recipe.rank,
        lora_alpha=adapter.alpha if adapter else recipe.alpha,
        use_rslora=adapter.rank_stabilized if adapter else False,
        lora_dropout=recipe.dropout,
        target_modules=list(adapter.target_modules if adapter else recipe.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(loaded.model, config)
    if adapter is not None:
        _fill(model, adapter)
    model.config.use_cache = False
    return Trainee(
        model=model,
        tokenizer=tokenizer,
        eos_id=_eos(tokenizer, loaded.eos_ids),
        pad_id=loaded.pad_id,
        choice=choice,
        by_unsloth=False,
        half=choice.precision != "fp32",
    )


def _by_unsloth(settings: Settings, choice: base.BaseChoice, recipe: Recipe, adapter: Adapter | None) -> Trainee:
    """On CUDA, in 4-bit. `training.__main__` has imported unsloth before trl, transformers and peft."""
    from unsloth import FastLanguageModel

    from persona_chat.engine.tokens import choose_pad

    source = base.folder_of(choice, settings.data_dir)
    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=source, max_seq_length=recipe.max_tokens, dtype=None, load_in_4bit=True
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=adapter.rank if adapter else recipe.rank,
        lora_alpha=adapter.alpha if adapter else recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(adapter.target_modules if adapter else recipe.target_modules),
        bias="none",
        use_gradient_checkpointing="unsloth",
        random_state=recipe.seed,
    )
    if adapter is not None:
        _fill(model, adapter)
    # unsloth sets pads of its own; a pad that ends a text would teach the model never to stop.
    eos_ids = frozenset([tokenizer.eos_token_id])
    return Trainee(
        model=model,
        tokenizer=tokenizer,
        eos_id=tokenizer.eos_token_id,
        pad_id=choose_pad(tokenizer, eos_ids),
        choice=choice,
        by_unsloth=True,
        half=True,
    )


def _fill(model: Any, adapter: Adapter) -> None:
    from peft.utils import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(adapter.weights)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        refuse(adapter.folder, "it holds numbers that are not finite.")
    try:
        result = set_peft_model_state_dict(model, weights)
    except RuntimeError:
        refuse(adapter.folder, "its shapes do not fit the base.")
    if result.unexpected_keys or any("lora_" in key for key in result.missing_keys):
        refuse(adapter.folder, "its tensors are not those of the base.")


def _eos(tokenizer: Any, eos_ids: frozenset[int]) -> int:
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    if not eos_ids:
        raise BaseUnavailable("This base has no token that ends a text, so it could never learn to stop.")
    return min(eos_ids)


def save(trainee: Trainee, folder: Path, stored: str) -> None:
    """Write config and weights as PEFT does, without its card and with the base's name instead of a path.

    For `bf16` the trained weights themselves are rounded first: what is evaluated here is what is served.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    dtype = torch.bfloat16 if stored == "bf16" else torch.float32
    with torch.no_grad():
        for weight in trainable(trainee.model).values():
            weight.copy_(weight.to(dtype))
    tensors = {
        key: tensor.detach().to("cpu", dtype).contiguous()
        for key, tensor in get_peft_model_state_dict(trainee.model).items()
    }
    config = trainee.model.peft_config["default"].to_dict()
    config |= {
        "base_model_name_or_path": trainee.choice.base,
        "inference_mode": True,
        "target_modules": sorted(config["target_modules"]),
    }
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(plain, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")


def trainable(model: Any) -> dict[str, torch.Tensor]:
    """Return the tensors that are trained, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@contextlib.contextmanager
def evaluating(model: Any) -> Any:
    """Switch the model to evaluation and back."""
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train()

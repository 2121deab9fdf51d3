"""Putting a checked adapter beside the loaded base, on the model thread. The base's own weights never change.

`hotswap_adapter` and merging are not used: the first took a wrong shape without a word, the second rounds a 4-bit
base anew.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load as load_safetensors

from persona_chat.adapters import Adapter, refuse
from persona_chat.engine.products import Lora
from persona_chat.errors import AdapterRefused
from persona_chat.fit import check_base, check_shapes

_PREFIX = "base_model.model."


def attach(model: Any, adapter: Adapter, base: str) -> Any:
    """Put the adapter over `model` (a base, or a base under other adapters), make it active, return what serves.

    Raises AdapterRefused and leaves the model as it was when the adapter was made for another base than `base`,
    changed since it was read, does not fit, or holds numbers that are not finite.
    """
    check_base(adapter, base)
    weights = _read_weights(adapter)
    plain = model.get_base_model() if isinstance(model, PeftModel) else model
    _check_against(plain, adapter)
    ready = {key: tensor.to(device=plain.device, dtype=plain.dtype) for key, tensor in weights.items()}
    if isinstance(model, PeftModel):
        return _add(model, adapter, ready)
    return _wrap(model, adapter, ready)


def loras(adapter: Adapter, base: str, linears: Mapping[str, tuple[int, int]], like: torch.Tensor) -> dict[str, Lora]:
    """Return the adapter's LoRA by the names of the layers beside which they belong, in device and precision of `like`.

    `linears` are the inputs and outputs of the layers that may have one. Raises AdapterRefused as `attach` does.
    """
    check_base(adapter, base)
    weights = _read_weights(adapter)
    names = [name for name in linears if name.rpartition(".")[2] in adapter.target_modules]
    check_shapes(adapter, _shapes({name: linears[name] for name in names}, adapter.rank))
    scale = adapter.alpha / (math.sqrt(adapter.rank) if adapter.rank_stabilized else adapter.rank)
    return {
        name: Lora(
            down=weights[f"{_PREFIX}{name}.lora_A.weight"].t().to(like).contiguous(),
            up=(weights[f"{_PREFIX}{name}.lora_B.weight"].float() * scale).t().to(like).contiguous(),
        )
        for name in names
    }


def exchange(served: Any, before: Adapter | None, adapter: Adapter | None, base: str) -> Any:
    """Put `adapter` in the place of `before` and return what serves; None is the plain base.

    The one before leaves memory. Raises AdapterRefused as `attach` does, and leaves `served` as it was.
    """
    if adapter is None:
        return served.unload() if isinstance(served, PeftModel) else served
    now = attach(served, adapter, base)
    if before is not None:
        now.delete_adapter(before.name)
    return now


def _read_weights(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Read the file once, and check just these bytes: it may have been replaced since the folder was read."""
    content = adapter.weights.read_bytes()
    if hashlib.sha256(content).hexdigest() != adapter.weights_sha256:
        refuse(adapter.folder, "its weights changed while they were being read.")
    weights: dict[str, torch.Tensor] = load_safetensors(content)
    for key, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            refuse(adapter.folder, f"{key} holds numbers that are not finite.")
    return weights


def _check_against(base: Any, adapter: Adapter) -> None:
    """Compare tensor names and shapes with the linear layers of the base that the adapter names."""
    linears = {
        # Under an adapter, the names of the layers beneath end in base_layer, and the wrapper has their sizes.
        name: (module.in_features, module.out_features)
        for name, module in base.named_modules()
        if name.rpartition(".")[2] in adapter.target_modules and hasattr(module, "in_features")
    }
    check_shapes(adapter, _shapes(linears, adapter.rank))


def _shapes(linears: Mapping[str, tuple[int, int]], rank: int) -> dict[str, tuple[int, ...]]:
    """The tensors that an adapter of this rank has beside these layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (inputs, outputs) in linears.items():
        shapes[f"{_PREFIX}{name}.lora_A.weight"] = (rank, inputs)
        shapes[f"{_PREFIX}{name}.lora_B.weight"] = (outputs, rank)
    return shapes


def _config(adapter: Adapter) -> LoraConfig:
    """Return PEFT's config, made from the checked values: nothing else of the file reaches PEFT."""
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        use_rslora=adapter.rank_stabilized,
        target_modules=list(adapter.target_modules),
        task_type="CAUSAL_LM",
        inference_mode=True,
    )


def _wrap(base: Any, adapter: Adapter, weights: dict[str, torch.Tensor]) -> PeftModel:
    served = PeftModel(base, _config(adapter), adapter.name, autocast_adapter_dtype=False, low_cpu_mem_usage=True)
    try:
        _fill(served, adapter, weights)
    except Exception as error:
        served.unload()  # takes PEFT's layers out of the base again
        raise _not_loaded(adapter, error) from error
    return served.eval()


def _add(served: PeftModel, adapter: Adapter, weights: dict[str, torch.Tensor]) -> PeftModel:
    before = served.active_adapter
    if adapter.name not in served.peft_config:
        try:
            served.add_adapter(adapter.name, _config(adapter), autocast_adapter_dtype=False, low_cpu_mem_usage=True)
            _fill(served, adapter, weights)
        except Exception as error:
            if adapter.name in served.peft_config:
                served.delete_adapter(adapter.name)
            served.set_adapter(before, inference_mode=True)
            raise _not_loaded(adapter, error) from error
    served.set_adapter(adapter.name, inference_mode=True)
    return served.eval()


def _fill(served: PeftModel, adapter: Adapter, weights: dict[str, torch.Tensor]) -> None:
    result = set_peft_model_state_dict(served, weights, adapter_name=adapter.name, low_cpu_mem_usage=True)
    missing = [key for key in result.missing_keys if f".{adapter.name}." in key]
    if missing or result.unexpected_keys:
        refuse(adapter.folder, "PEFT did not take all of its tensors.")


def _not_loaded(adapter: Adapter, error: Exception) -> AdapterRefused:
    if isinstance(error, AdapterRefused):
        return error
    return AdapterRefused(f"The adapter in {adapter.folder} is not used: PEFT cannot load it.")

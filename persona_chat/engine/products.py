"""The matrix products of a decoder: several linear layers that read the same input as one, and LoRA beside them.

It changes no weight: what is 4-bit stays the same 4-bit codes, and LoRA is never added into them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Multiply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Lora:
    """One or several LoRA side by side, their scale in `up`. `down` is [inputs, rank], `up` [rank, outputs]."""

    down: Tensor
    up: Tensor

    @property
    def exact(self) -> "Lora":
        """The same in fp32."""
        return Lora(self.down.float(), self.up.float())


class Product:
    """x to x W^T, and to x W^T + x `down` `up` under an adapter. W is [outputs, inputs], several layers' rows."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self._multiply = multiply(layers)
        self.inputs = layers[0].in_features
        self.sizes = [layer.out_features for layer in layers]
        self._lora: Lora | None = None
        self._exact: Lora | None = None

    def wear(self, lora: Lora | None) -> None:
        """Put this LoRA beside the weights in place of the one there is."""
        self._lora = lora
        # On a CPU a small product in bf16 costs 20 µs whatever its size, in fp32 2 to 10.
        self._exact = lora.exact if lora is not None and lora.down.device.type == "cpu" else None

    def of_block(self, x: Tensor) -> Tensor:
        """Return the product of many rows of one text, [rows, inputs] to [rows, outputs]."""
        product = self._multiply(x)
        if self._lora is None:
            return product
        return torch.addmm(product, torch.mm(x, self._lora.down), self._lora.up)

    def of_rows(self, x: Tensor) -> Tensor:
        """Return the product of rows of different texts, each exactly what it would be alone."""
        if self._exact is None:
            return self.of_block(x)
        # A matrix product adds up in an order that depends on how many rows there are; one product a row does not.
        rows, down, up = len(x), self._exact.down, self._exact.up
        # On Intel's CPUs a batch of one product is another order again, so a row alone is multiplied twice.
        each = x.expand(2, -1) if rows == 1 else x
        inner = torch.bmm(each[:, None].float(), down.expand(len(each), *down.shape))[:rows]
        product = self._multiply(x)[:, None].float()
        return torch.baddbmm(product, inner, up.expand(rows, *up.shape))[:, 0].to(x.dtype)


def side_by_side(loras: Sequence[Lora | None], inputs: int, outputs: Sequence[int], like: Tensor) -> Lora | None:
    """Return one LoRA that is these, each for its own layer of a product; None where none has one."""
    rank = sum(lora.down.shape[1] for lora in loras if lora is not None)
    if not rank:
        return None
    down, up = like.new_zeros(inputs, rank), like.new_zeros(rank, sum(outputs))
    first, column = 0, 0
    for lora, width in zip(loras, outputs, strict=True):
        if lora is not None:
            last = first + lora.down.shape[1]
            down[:, first:last] = lora.down
            up[first:last, column : column + width] = lora.up
            first = last
        column += width
    return Lora(down, up)


def multiply(layers: Sequence[Any]) -> Multiply:
    """Return the function x to x W^T of linear layers without bias, which read the same input, as one product."""
    first = layers[0].weight
    if hasattr(first, "quant_state"):
        return _multiply_4bit([layer.weight for layer in layers])
    weight = first.detach() if len(layers) == 1 else torch.cat([layer.weight.detach() for layer in layers])
    return lambda x: functional.linear(x, weight)


def _multiply_4bit(weights: Sequence[Any]) -> Multiply:
    import bitsandbytes
    from bitsandbytes.functional import QuantState, gemv_4bit

    states = [weight.quant_state for weight in weights]
    if any(getattr(state, "packing_format_for_cpu", False) for state in states):
        raise ValueError("a 4-bit model is taken before its first forward pass, which packs its weights")
    first = states[0]
    # Blocks of values that share a scale never reach over two rows, so the layers' codes and scales just follow
    # each other. The scales, themselves 8-bit, are unpacked as bitsandbytes does it for every use.
    state = QuantState(
        absmax=torch.cat([_scales(state) for state in states]),
        shape=torch.Size((sum(state.shape[0] for state in states), first.shape[1])),
        code=first.code,
        blocksize=first.blocksize,
        quant_type=first.quant_type,
        dtype=first.dtype,
    )
    codes = torch.cat([weight.data.reshape(-1, 1) for weight in weights])
    if packs(codes, state):
        from bitsandbytes.functional import _convert_weight_packed_for_cpu

        packed, state = _convert_weight_packed_for_cpu(codes, state)
        return lambda x: gemv_4bit(x, packed, state=state)
    return lambda x: bitsandbytes.matmul_4bit(x, codes, state)


def packs(codes: Tensor, state: Any) -> bool:
    """Whether bitsandbytes' kernel for AVX512-BF16 takes weights of this shape here."""
    from bitsandbytes.functional import has_avx512bf16

    return (
        codes.device.type == "cpu" and state.shape[0] % 32 == 0 and state.dtype == torch.bfloat16 and has_avx512bf16()
    )


def _scales(state: Any) -> Tensor:
    from bitsandbytes.functional import dequantize_blockwise

    scales: Tensor = state.absmax
    if state.nested:
        scales = dequantize_blockwise(scales, state.state2) + state.offset
    return scales.float()

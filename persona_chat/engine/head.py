"""The output layer: the likeliest next tokens of a row, and how likely they are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from persona_chat.engine.base import LoadedBase

CANDIDATES = 64
"""How many of the likeliest tokens are looked at; the next one is drawn from these."""


@dataclass(frozen=True)
class Candidates:
    """The likeliest next tokens of each row and their logits in fp32, the likeliest first; both [rows, CANDIDATES]."""

    ids: Tensor
    logits: Tensor

    def lists(self) -> list[tuple[list[int], list[float]]]:
        """Return the same, row by row."""
        return list(zip(self.ids.tolist(), self.logits.tolist(), strict=True))


class Head:
    """The output layer of a model, `weight` [vocabulary, hidden size].

    On a CPU with a fast 4-bit kernel it is read in 4-bit first, which is a quarter of the memory that the weights take
    otherwise, and only the candidates' rows are read whole: their logits are exact.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._rough = _in_4bit(weight)

    def best(self, hidden: Tensor, closed: Tensor | None) -> Candidates:
        """Return the candidates after each row of `hidden` [rows, hidden size], without the `closed` (a mask)."""
        if self._rough is None:
            return likeliest(functional.linear(hidden, self._weight).float(), closed)
        ids = likeliest(self._rough(hidden), closed).ids
        # Not a matrix product, which adds up in an order that depends on how many rows there are.
        logits = (self._weight[ids].float() * hidden.float()[:, None]).sum(-1)
        if closed is not None:
            logits = logits.masked_fill(closed[ids], -torch.inf)
        return _in_order(ids, logits)


def closed_tokens(openings: Sequence[int], base: LoadedBase) -> Tensor:
    """Return the mask [vocabulary] of all tokens but `openings`; the output layer may be wider than the tokenizer's."""
    closed = torch.ones(base.vocabulary, dtype=torch.bool)
    closed[list(openings)] = False
    return closed.to(base.model.device)


def likeliest(logits: Tensor, closed: Tensor | None) -> Candidates:
    """Return the candidates of each row of logits [rows, vocabulary], without the `closed`."""
    if closed is not None:
        logits = logits.masked_fill(closed, -torch.inf)
    best, ids = logits.topk(min(CANDIDATES, logits.shape[-1]))
    return _in_order(ids, best)


def _in_order(ids: Tensor, logits: Tensor) -> Candidates:
    """The likeliest first; of equally likely tokens the first in the vocabulary, as argmax has it."""
    ids, order = ids.sort()
    logits, likeliest_first = logits.gather(-1, order).sort(stable=True, dim=-1, descending=True)
    return Candidates(ids.gather(-1, likeliest_first), logits)


def _in_4bit(weight: Tensor) -> Callable[[Tensor], Tensor] | None:
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or weight.shape[0] % 32 or weight.shape[1] % 64:
        return None
    from bitsandbytes.functional import _convert_weight_packed_for_cpu, gemv_4bit, has_avx512bf16, quantize_4bit

    if not has_avx512bf16():
        return None
    packed, state = _convert_weight_packed_for_cpu(*quantize_4bit(weight.contiguous(), quant_type="nf4"))
    return lambda x: gemv_4bit(x, packed, state=state)

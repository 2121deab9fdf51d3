"""The forward pass of a model of the Llama form, for rows of different texts at once, each with its own cache.

It computes what transformers' `LlamaForCausalLM` does under a LoRA adapter, with less around it: layers that read the
same input are one product, a cache is written in place, and each row's numbers are those it would have alone. It
knows nothing of tokens' meaning, of replies, or of how the next token is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from persona_chat.engine.head import Candidates, Head
from persona_chat.engine.memory import trim
from persona_chat.engine.products import Lora, Product, side_by_side

# Attention reads so many cached tokens at a time at most: longer sums are added up in another order, and a row's
# numbers would depend on how long the longest row beside it is.
_SPAN = 1024
_STEP = 64  # caches are read and grow in multiples of it

_GROUPS = {
    "attention.in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "mlp.in": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.out": ("mlp.down_proj",),
}


@dataclass(frozen=True)
class _Layer:
    before_attention: Tensor
    attention_in: Product
    attention_out: Product
    before_mlp: Tensor
    mlp_in: Product
    mlp_out: Product

    @property
    def products(self) -> dict[str, Product]:
        return {
            "attention.in": self.attention_in,
            "attention.out": self.attention_out,
            "mlp.in": self.mlp_in,
            "mlp.out": self.mlp_out,
        }


Attend = Callable[[Tensor, Tensor], Tensor]


class Decoder:
    """A Llama-form model that reads and writes several texts, each in a slot of its own.

    Slots are numbered from 0. `step` works on slots that follow each other, so whoever frees one in the middle moves
    the last one there. All calls are for one thread, in `torch.inference_mode()`.
    """

    def __init__(self, model: Any) -> None:
        """Take the weights of `model` (transformers' LlamaForCausalLM); see `is_llama`. Needs it no longer."""
        config = model.config
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._eps = config.rms_norm_eps
        self._scale = self._size**-0.5
        self._layers = [_take(layer) for layer in model.model.layers]
        self._embedding: Tensor = model.model.embed_tokens.weight.detach()
        self._last_norm: Tensor = model.model.norm.weight.detach()
        self._head = Head(model.lm_head.weight.detach())
        self._rotary = model.model.rotary_emb
        self._slots, self._capacity = 0, 0
        self._kv: list[Tensor] = []  # by layer: [keys and values, slots, heads, capacity, head size]
        self._cos = self._sin = self._places = self._embedding.new_empty(0)
        self._need(1, 4 * _STEP)

    def wear(self, loras: Mapping[str, Lora]) -> None:
        """Put LoRA beside the layers, by the layers' names in `linears`; the others get none."""
        for number, layer in enumerate(self._layers):
            for group, product in layer.products.items():
                those = [loras.get(f"model.layers.{number}.{name}") for name in _GROUPS[group]]
                product.wear(side_by_side(those, product.inputs, product.sizes, self._embedding))

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The inputs and outputs of each layer that may have LoRA beside it, by its name."""
        return {
            f"model.layers.{number}.{name}": (product.inputs, outputs)
            for number, layer in enumerate(self._layers)
            for group, product in layer.products.items()
            for name, outputs in zip(_GROUPS[group], product.sizes, strict=True)
        }

    @property
    def like(self) -> Tensor:
        """A tensor of the device and the precision that LoRA must have."""
        return self._embedding

    def read(self, slot: int, ids: Sequence[int], start: int) -> Tensor:
        """Read tokens into a slot that holds `start` tokens; return what follows them, [1, hidden size], for `head`."""
        rows, end = len(ids), start + len(ids)
        self._need(slot + 1, end)
        places = torch.arange(start, end, device=self._embedding.device)
        length = _padded(end)
        unseen = self._unseen(places, length)  # [rows, length]
        heads, kv_heads, size = self._heads, self._kv_heads, self._size

        def attend(queries: Tensor, cache: Tensor) -> Tensor:
            group = heads // kv_heads
            queries = queries.reshape(rows, kv_heads, group, size).permute(1, 2, 0, 3).reshape(kv_heads, -1, size)
            keys, values = cache[0, slot, :, :length], cache[1, slot, :, :length]
            fit = torch.matmul(queries, keys.transpose(-1, -2)).view(kv_heads, group, rows, length)
            share = torch.softmax(torch.add(unseen, fit, alpha=self._scale), -1).to(values.dtype)
            found = _weighted(share.view(kv_heads, -1, length), values).view(kv_heads, group, rows, size)
            return found.permute(2, 0, 1, 3).reshape(rows, heads * size)

        slots = torch.full((rows,), slot, device=places.device)
        return self._run(ids, slots, places, attend, Product.of_block)[-1:]

    def step(self, ids: Sequence[int], lengths: Sequence[int], first: int = 0) -> Tensor:
        """Give each slot from `first` on, which hold `lengths` tokens, one more; return [rows, hidden size]."""
        rows = len(ids)
        length = _padded(max(lengths) + 1)
        self._need(first + rows, length)
        places = torch.tensor(lengths, device=self._embedding.device)
        unseen = self._unseen(places, length)[:, None, None]  # [rows, 1, 1, length]
        grouped = (rows, self._kv_heads, self._heads // self._kv_heads, self._size)

        def attend(queries: Tensor, cache: Tensor) -> Tensor:
            keys, values = cache[0, first : first + rows, :, :length], cache[1, first : first + rows, :, :length]
            fit = torch.matmul(queries.reshape(grouped), keys.transpose(-1, -2))
            share = torch.softmax(torch.add(unseen, fit, alpha=self._scale), -1).to(values.dtype)
            return _weighted(share, values).reshape(rows, -1)

        slots = torch.arange(first, first + rows, device=places.device)
        return self._run(ids, slots, places, attend, Product.of_rows)

    def head(self, hidden: Tensor, closed: Tensor | None = None) -> Candidates:
        """Return the likeliest next tokens of each row, without the `closed` ones (a mask [vocabulary])."""
        return self._head.best(self._normal(hidden, self._last_norm), closed)

    def keep(self, slot: int, tokens: int) -> Tensor:
        """Return a copy of what the slot holds of its first tokens."""
        return torch.stack([layer[:, slot, :, :tokens] for layer in self._kv])

    def put(self, slot: int, kept: Tensor, tokens: int) -> None:
        """Put the first tokens of what `keep` returned into the slot."""
        self._need(slot + 1, tokens)
        for layer, cached in zip(self._kv, kept, strict=True):
            layer[:, slot, :, :tokens] = cached[:, :, :tokens]

    def copy(self, source: int, slot: int, tokens: int) -> None:
        """Copy the first tokens of one slot into another."""
        self._need(slot + 1, tokens)
        for layer in self._kv:
            layer[:, slot, :, :tokens] = layer[:, source, :, :tokens]

    @property
    def token_bytes(self) -> int:
        """How much memory the cache of one token takes."""
        return int(len(self._layers) * 2 * self._kv_heads * self._size * self._embedding.element_size())

    def _run(
        self,
        ids: Sequence[int],
        slots: Tensor,
        places: Tensor,
        attend: Attend,
        times: Callable[[Product, Tensor], Tensor],
    ) -> Tensor:
        """Let tokens through all layers: token i goes to place i of slot i. Returns [tokens, hidden size]."""
        rows, heads, kv_heads = len(ids), self._heads, self._kv_heads
        cos, sin = self._cos[places], self._sin[places]
        # Where each token's keys and values go in a layer's cache, seen as a list of vectors: [tokens, 2 * kv_heads].
        halves = torch.arange(2, device=slots.device)[None, :, None] * self._slots
        to = (halves + slots[:, None, None]) * kv_heads + torch.arange(kv_heads, device=slots.device)
        to = (to * self._capacity + places[:, None, None]).view(-1)
        x = self._embedding[torch.tensor(ids, device=self._embedding.device)]
        for layer, cache in zip(self._layers, self._kv, strict=True):
            mixed = times(layer.attention_in, self._normal(x, layer.before_attention)).view(rows, -1, self._size)
            turned = mixed[:, : heads + kv_heads]
            other_half = torch.roll(turned, self._size // 2, -1)
            turned.mul_(cos).addcmul_(other_half, sin)
            cache.view(-1, self._size).index_copy_(0, to, mixed[:, heads:].reshape(-1, self._size))
            x = x + times(layer.attention_out, attend(mixed[:, :heads], cache))
            gate, up = times(layer.mlp_in, self._normal(x, layer.before_mlp)).chunk(2, -1)
            x = x + times(layer.mlp_out, functional.silu(gate).mul_(up))
        return x

    def _normal(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm as Llama does it: in fp32, rounded before the weight."""
        exact = x.float()
        return (exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self._eps)).to(x.dtype) * weight

    def _unseen(self, places: Tensor, length: int) -> Tensor:
        """Return what is added to the fit of cached tokens: 0 up to a token's own place, -inf behind it."""
        behind = self._places[:length] > places[:, None]
        return torch.zeros(behind.shape, device=places.device).masked_fill_(behind, -torch.inf)

    def _need(self, slots: int, tokens: int) -> None:
        """Make room for so many slots of so many tokens; what is there stays."""
        if slots <= self._slots and tokens <= self._capacity:
            return
        had, more = (self._slots, self._capacity), (max(slots, self._slots), max(_padded(tokens), self._capacity))
        # All or nothing: memory may not suffice. What lies behind a row's end must be numbers, so zeros.
        grown = [self._embedding.new_zeros(2, more[0], self._kv_heads, more[1], self._size) for _ in self._layers]
        for new, old in zip(grown, self._kv, strict=False):
            new[:, : had[0], :, : had[1]] = old
        self._kv, (self._slots, self._capacity) = grown, more
        if (capacity := more[1]) > had[1]:
            self._places = torch.arange(capacity, device=self._embedding.device)
            cos, sin = self._rotary(self._embedding[:1, None], self._places[None])
            self._cos, self._sin = cos[0, :, None], sin[0, :, None].clone()
            # A vector is turned by adding its halves exchanged, the second of them negative.
            self._sin[..., : self._size // 2] *= -1
        trim()  # what was there before was in pieces, between which nothing else fits


def is_llama(model: Any) -> bool:
    """Whether a loaded transformers model is of the form that a Decoder computes."""
    config = model.config
    return (
        type(model).__name__ == "LlamaForCausalLM"
        and config.hidden_act == "silu"
        and not config.attention_bias
        and not config.mlp_bias
        and config.rope_parameters["rope_type"] in ("default", "linear", "llama3")  # others change with the length
    )


def _take(layer: Any) -> _Layer:
    products = {group: Product([layer.get_submodule(name) for name in names]) for group, names in _GROUPS.items()}
    return _Layer(
        layer.input_layernorm.weight.detach(),
        products["attention.in"],
        products["attention.out"],
        layer.post_attention_layernorm.weight.detach(),
        products["mlp.in"],
        products["mlp.out"],
    )


def _weighted(share: Tensor, values: Tensor) -> Tensor:
    found = torch.matmul(share[..., :_SPAN], values[..., :_SPAN, :])
    for start in range(_SPAN, share.shape[-1], _SPAN):
        found = found + torch.matmul(share[..., start : start + _SPAN], values[..., start : start + _SPAN, :])
    return found


def _padded(tokens: int) -> int:
    return -(-tokens // _STEP) * _STEP

"""Any causal language model of transformers behind what a batch needs: each row by itself, by the model's own forward.

It serves bases that are not of the Llama form. Rows take turns, so they do not wait for each other, and they do not
gain by each other either.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from persona_chat.engine.head import Candidates, likeliest


class PlainDecoder:
    """A transformers model, perhaps under PEFT, that reads and writes several texts. `model` may be exchanged."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._caches: dict[int, Any] = {}

    @property
    def token_bytes(self) -> int:
        """The bytes that one token's cache takes."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return int(config.num_hidden_layers * 2 * heads * size * self.model.dtype.itemsize)

    def read(self, slot: int, ids: Sequence[int], start: int) -> Tensor:
        """Read tokens into a slot that holds `start`; return the logits behind them, [1, vocabulary]."""
        cache = self._cache(slot) if start else DynamicCache(config=self.model.config)
        self._cut(cache, start)
        self._caches[slot] = cache
        tokens = torch.tensor([list(ids)], device=self.model.device)
        logits: Tensor = self.model(input_ids=tokens, past_key_values=cache, logits_to_keep=1).logits
        return logits[:, -1]

    def step(self, ids: Sequence[int], lengths: Sequence[int], first: int = 0) -> Tensor:
        """Give each slot from `first` on one more token; return the logits, [rows, vocabulary]."""
        each = enumerate(zip(ids, lengths, strict=True), first)
        return torch.cat([self.read(slot, [token], length) for slot, (token, length) in each])

    def head(self, hidden: Tensor, closed: Tensor | None = None) -> Candidates:
        """Return the likeliest next tokens of each row of logits."""
        return likeliest(hidden.float(), closed)

    def keep(self, slot: int, tokens: int) -> Any:
        """Return a copy of a slot's first tokens."""
        kept = copy.deepcopy(self._cache(slot))
        self._cut(kept, tokens)
        return kept

    def put(self, slot: int, kept: Any, tokens: int) -> None:
        """Put the first tokens of what `keep` returned into a slot."""
        cache = copy.deepcopy(kept)
        self._cut(cache, tokens)
        self._caches[slot] = cache

    def copy(self, source: int, slot: int, tokens: int) -> None:
        """Copy the first tokens of a slot into another."""
        if tokens:
            self.put(slot, self._cache(source), tokens)

    def _cache(self, slot: int) -> Any:
        return self._caches[slot]

    def _cut(self, cache: Any, tokens: int) -> None:
        # transformers 5.18 takes negative numbers only.
        if (surplus := cache.get_seq_length() - tokens) > 0:
            cache.crop(-surplus)

"""The tokenizer behind a lock, and what the engine asks of it. It loads no weights and needs no torch."""

import threading
from collections.abc import Sequence
from typing import Any

from persona_chat import template


class Tokens:
    """A `transformers` tokenizer that several threads may use.

    Encoding with `split_special_tokens` sets a flag inside the tokenizer, and the Rust part refuses a second
    thread at that moment ("Already borrowed"), so each call takes the lock. Calls take milliseconds.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._lock = threading.Lock()

    def encode(self, prompt: str) -> list[int]:
        """Return the prompt's token ids, as `template.encode` gives them."""
        with self._lock:
            return template.encode(self.tokenizer, prompt)

    def count(self, prompt: str) -> int:
        """Return how many tokens the prompt has."""
        return len(self.encode(prompt))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids without control tokens."""
        with self._lock:
            return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def openings(self) -> list[int]:
        """Return the ids of all tokens that a reply may begin with; decodes the vocabulary, about 0.5 s."""
        with self._lock:
            # Some decoders drop the space of a text's first token, so each is decoded behind another one.
            before = self.tokenizer.encode(":", add_special_tokens=False)
            skip = len(self.tokenizer.decode(before))
            pairs = [[*before, number] for number in range(len(self.tokenizer))]
            texts = self.tokenizer.batch_decode(pairs, skip_special_tokens=True)
        return [number for number, text in enumerate(texts) if template.opens_reply(text[skip:])]


def choose_pad(tokenizer: Any, eos_ids: frozenset[int]) -> int:
    """Return a padding id that is no end-of-sequence id: a model that learns to ignore pads learns to stop.

    The tokenizer's own where it serves, else a token made for it, else any control token.
    """
    named = ("<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<|pad|>", "<|endoftext|>")
    known: dict[str, int] = tokenizer.get_vocab()
    candidates = [tokenizer.pad_token_id, *(known.get(name) for name in named), tokenizer.unk_token_id]
    candidates += [number for number in tokenizer.all_special_ids if number != tokenizer.bos_token_id]
    # The last resort, id 0, is never looked at: pads are masked.
    return int(next((number for number in candidates if number is not None and number not in eos_ids), 0))

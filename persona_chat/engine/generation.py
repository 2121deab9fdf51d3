"""What a plain bot does: one `model.generate()` at a time, nothing remembered. Only to measure against."""

import time
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList


class _Clock(StoppingCriteria):  # type: ignore[misc]  # transformers ships no types here
    """Stops nothing; notes when the first token was there, in time.perf_counter() seconds."""

    def __init__(self) -> None:
        self.first_token_at = 0.0

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        self.first_token_at = self.first_token_at or time.perf_counter()
        return torch.zeros(len(input_ids), dtype=torch.bool)


def generate(model: Any, prompt: Sequence[int], tokens: int) -> float:
    """Let the model write exactly so many tokens; return when the first was there, in time.perf_counter() seconds."""
    clock = _Clock()
    ids = torch.tensor([list(prompt)], device=model.device)
    config = GenerationConfig(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([clock]),
        )
    return clock.first_token_at

"""One reply's token loop: how the next token is drawn and when to stop. Runs on the model thread only."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, RepetitionPenaltyLogitsProcessor, StoppingCriteriaList

from persona_chat import template
from persona_chat.engine.base import LoadedBase
from persona_chat.engine.reply import Finish, Sampling
from persona_chat.engine.tokens import Tokens


@dataclass(frozen=True)
class Limits:
    """When to give up: `deadline` is in time.monotonic() seconds; the events are set from other threads."""

    deadline: float
    stops: Sequence[threading.Event]

    def stopped(self) -> bool:
        """Whether nobody wants the reply any more."""
        return any(stop.is_set() for stop in self.stops)

    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self.deadline


@dataclass(frozen=True)
class Completion:
    """What the model wrote after the cue. `first_token_at` is in time.monotonic() seconds."""

    text: str
    tokens: int
    finish: Finish
    first_token_at: float


class Stopping:
    """A stopping criterion: end of the reply, cancelled, or deadline, looked at after every token.

    It notes when the first token came and whether the deadline was what ended the row.
    """

    def __init__(self, prompt_tokens: int, decode: Callable[[Sequence[int]], str], limits: Limits) -> None:
        self._prompt_tokens = prompt_tokens
        self._decode = decode
        self._limits = limits
        self.first_token_at = 0.0
        self.too_late = False

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Return one bool a row: whether it is done. `input_ids` is [rows, prompt + new tokens]."""
        self.first_token_at = self.first_token_at or time.monotonic()
        self.too_late = self._limits.passed()
        all_done = self.too_late or self._limits.stopped()
        done = [all_done or self.ended(row) for row in input_ids[:, self._prompt_tokens :].tolist()]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def ended(self, new_tokens: Sequence[int]) -> bool:
        """Whether a newline or another speaker ended the reply."""
        return template.ends_reply(self._decode(new_tokens))


class Opening:
    """A logits processor: the first new token must be one that a reply may begin with.

    `closed` is a bool mask [vocabulary], true for tokens that may not.
    """

    def __init__(self, prompt_tokens: int, closed: torch.Tensor) -> None:
        self._prompt_tokens = prompt_tokens
        self._closed = closed

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores [rows, vocabulary], at the first new token without the closed ones."""
        if input_ids.shape[1] > self._prompt_tokens:
            return scores
        return scores.masked_fill(self._closed, -torch.inf)


def closed_tokens(openings: Sequence[int], base: LoadedBase) -> torch.Tensor:
    """Return the mask for `Opening`; the output layer may be wider than the tokenizer's vocabulary."""
    closed = torch.ones(base.vocabulary, dtype=torch.bool)
    closed[list(openings)] = False
    return closed.to(base.model.device)


def complete(
    model: Any,
    base: LoadedBase,
    tokens: Tokens,
    prompt_ids: Sequence[int],
    closed: torch.Tensor,
    sampling: Sampling,
    limits: Limits,
) -> Completion:
    """Let the model go on after the prompt. `model` is the base's or the same under an adapter.

    The loop ends at an end-of-sequence token, the end of the reply's line, `max_new_tokens`, or `limits`; what was
    written until then is returned.
    """
    prompt = torch.tensor([list(prompt_ids)], device=base.model.device)
    stopping = Stopping(prompt.shape[1], tokens.decode, limits)
    # The processor that generate() makes itself would also punish the words of the prompt, which are the facts.
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty), prompt_ignore_length=prompt.shape[1]),
            Opening(prompt.shape[1], closed),
        ]
    )
    if sampling.temperature > 0:
        torch.manual_seed(secrets.randbits(63) if sampling.seed is None else sampling.seed)
    with torch.inference_mode():
        output = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=_generation_config(sampling, base),
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([stopping]),
        )
    new_tokens: list[int] = output[0, prompt.shape[1] :].tolist()
    return Completion(
        text=tokens.decode(new_tokens),
        tokens=len(new_tokens),
        finish=_finish(new_tokens, sampling, base, stopping),
        first_token_at=stopping.first_token_at,
    )


def _finish(new_tokens: Sequence[int], sampling: Sampling, base: LoadedBase, stopping: Stopping) -> Finish:
    ended = new_tokens[-1] in base.eos_ids or stopping.ended(new_tokens)
    if ended:
        return Finish.STOP
    if len(new_tokens) >= sampling.max_new_tokens:
        return Finish.LENGTH
    return Finish.DEADLINE if stopping.too_late else Finish.STOP


def _generation_config(sampling: Sampling, base: LoadedBase) -> GenerationConfig:
    drawn = sampling.temperature > 0
    # transformers takes no whole numbers here.
    draw = {"temperature": float(sampling.temperature), "top_p": float(sampling.top_p), "top_k": 0}
    return GenerationConfig(
        do_sample=drawn,
        max_new_tokens=sampling.max_new_tokens,
        eos_token_id=sorted(base.eos_ids),
        pad_token_id=base.pad_id,
        **(draw if drawn else {}),
    )

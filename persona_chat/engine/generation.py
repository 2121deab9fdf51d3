"""The token loop of a reply, or of several at once: how the next token is drawn and when to stop.

In the bot it runs on the model thread only.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence, Set
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

    It notes when the first token came, with how many new tokens each row's reply had ended (None: not yet), and
    whether the deadline was what ended the others.
    """

    def __init__(
        self, prompts: torch.Tensor, decode: Callable[[Sequence[int]], str], eos_ids: Set[int], limits: Limits
    ) -> None:
        self._prompt_tokens = prompts.shape[1]
        self._decode = decode
        self._eos_ids = eos_ids
        self._limits = limits
        self.first_token_at = 0.0
        self.ended_with: list[int | None] = [None] * len(prompts)
        self.too_late = False

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        """Return one bool a row: whether it is done. `input_ids` is [rows, prompt + new tokens]."""
        self.first_token_at = self.first_token_at or time.monotonic()
        self.too_late = self._limits.passed()
        all_done = self.too_late or self._limits.stopped()
        for row, new_tokens in enumerate(input_ids[:, self._prompt_tokens :].tolist()):
            if self.ended_with[row] is None and self._ended(new_tokens):
                self.ended_with[row] = len(new_tokens)
        done = [all_done or ended_with is not None for ended_with in self.ended_with]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)

    def _ended(self, new_tokens: Sequence[int]) -> bool:
        """Whether the end-of-sequence token, a newline or another speaker ended the reply."""
        return new_tokens[-1] in self._eos_ids or template.ends_reply(self._decode(new_tokens))


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
    return complete_each(model, base, tokens, [prompt_ids], closed, sampling, limits)[0]


def complete_each(
    model: Any,
    base: LoadedBase,
    tokens: Tokens,
    prompts: Sequence[Sequence[int]],
    closed: torch.Tensor | None,
    sampling: Sampling,
    limits: Limits,
) -> list[Completion]:
    """Let the model go on after each prompt, all in one batch; see `complete`.

    Greedy completions are those of single runs, as far as the precision gives a batch the same sums. Prompts of like
    length waste the least. Without `closed` a completion may begin with anything.
    """
    prompt, seen = _left_padded(prompts, base)
    stopping = Stopping(prompt, tokens.decode, base.eos_ids, limits)
    # The processor that generate() makes itself would also punish the words of the prompt, which are the facts.
    processors = LogitsProcessorList(
        [RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty), prompt_ignore_length=prompt.shape[1])]
    )
    if closed is not None:
        processors.append(Opening(prompt.shape[1], closed))
    if sampling.temperature > 0:
        torch.manual_seed(secrets.randbits(63) if sampling.seed is None else sampling.seed)
    with torch.inference_mode():
        output = model.generate(
            input_ids=prompt,
            attention_mask=seen,
            generation_config=_generation_config(sampling, base),
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([stopping]),
        )
    written: list[list[int]] = output[:, prompt.shape[1] :].tolist()
    return [
        _completion(new_tokens, ended_with, tokens, sampling, stopping)
        for new_tokens, ended_with in zip(written, stopping.ended_with, strict=True)
    ]


def _left_padded(prompts: Sequence[Sequence[int]], base: LoadedBase) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids and what of them is no padding, both [prompts, longest]; all end with their last token."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), base.pad_id)
    seen = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        seen[row, longest - len(prompt) :] = 1
    return ids.to(base.model.device), seen.to(base.model.device)


def _completion(
    written: Sequence[int], ended_with: int | None, tokens: Tokens, sampling: Sampling, stopping: Stopping
) -> Completion:
    new_tokens = written[:ended_with]  # behind its end, a row is padded until the last row of its batch has ended
    finish = Finish.STOP
    if ended_with is None and len(new_tokens) >= sampling.max_new_tokens:
        finish = Finish.LENGTH
    elif ended_with is None and stopping.too_late:
        finish = Finish.DEADLINE
    return Completion(tokens.decode(new_tokens), len(new_tokens), finish, stopping.first_token_at)


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

"""How likely a model finds completions: sums of log-probabilities. It knows token ids, no texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

from persona_chat.engine.base import LoadedBase

Ids = Sequence[int]

# More in one batch is no faster on a CPU, where one prompt makes matrices big enough; padding grows instead.
ROWS_AT_ONCE = 2

# oneDNN keeps code and memory for each shape that it has seen, so batches have few lengths.
STEP = 16


@dataclass(frozen=True)
class Scored:
    """A completion's natural log-probability, and of how many tokens (the end-of-sequence token counts)."""

    logp: float
    tokens: int

    @property
    def mean(self) -> float:
        """The log-probability a token."""
        return self.logp / self.tokens


@dataclass(frozen=True)
class Scorer:
    """Scores completions under a model: the base's, or the same under an adapter."""

    model: Any
    base: LoadedBase

    def score(self, pairs: Sequence[tuple[Ids, Ids]], told: Callable[[int], None]) -> list[Scored]:
        """Score each pair's completion after its prompt. `told` hears how many are done."""
        shortest_first = sorted(range(len(pairs)), key=lambda row: len(pairs[row][0]) + len(pairs[row][1]))
        scored: dict[int, Scored] = {}
        for start in range(0, len(pairs), ROWS_AT_ONCE):
            rows = shortest_first[start : start + ROWS_AT_ONCE]
            scored.update(zip(rows, self._score_batch([pairs[row] for row in rows]), strict=True))
            told(len(scored))
        return [scored[row] for row in range(len(pairs))]

    def score_candidates(self, prompt: Ids, completions: Sequence[Ids]) -> list[Scored]:
        """Score all completions of one prompt of at least two tokens, which is read only once.

        They stand one behind the other in a single row, each at the positions right after the prompt, and a mask keeps
        each from seeing the others: hardly any padding, and no copy of the prompt's keys and values for each.
        """
        # The prompt's last token stands before each completion: what follows it is the completion's first.
        inputs = [[prompt[-1], *completion[:-1]] for completion in completions]
        inputs.append([self.base.pad_id] * (-sum(map(len, completions)) % STEP))
        owners = torch.tensor([number for number, ids in enumerate(inputs) for _ in ids])
        places = torch.tensor([place for ids in inputs for place in range(len(ids))])
        own = (owners[:, None] == owners[None]) & (places[:, None] >= places[None])
        beginning = self._padded([prompt[:-1]])
        before = (torch.arange(beginning.shape[1]) < len(prompt) - 1).expand(len(owners), -1)
        with torch.inference_mode():
            cache = self.model(input_ids=beginning, use_cache=True, logits_to_keep=1).past_key_values
            logits = self.model(
                input_ids=self._padded([[token for ids in inputs for token in ids]]),
                past_key_values=cache,
                attention_mask=self._mask(torch.cat([before, own], dim=1)),
                position_ids=(places + len(prompt) - 1)[None].to(self.base.model.device),
            ).logits[0]
        starts = [0, *accumulate(len(ids) for ids in inputs)]
        return [_score(logits[start:], completion) for start, completion in zip(starts, completions, strict=False)]

    def _score_batch(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[Scored]:
        starts = [len(prompt) - 1 for prompt, _ in pairs]
        inputs = self._padded([[*prompt, *completion[:-1]] for prompt, completion in pairs])
        # The output layer is a fifth of the work, so only where completions are.
        kept = torch.arange(min(starts), inputs.shape[1], device=inputs.device)
        with torch.inference_mode():
            logits = self.model(input_ids=inputs, use_cache=False, logits_to_keep=kept).logits
        first = min(starts)
        return [_score(logits[row, start - first :], pairs[row][1]) for row, start in enumerate(starts)]

    def _padded(self, rows: Sequence[Ids]) -> torch.Tensor:
        """Return ids [rows, tokens], padded on the right: no token looks ahead, so pads need no mask."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest + -longest % STEP), self.base.pad_id)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(list(tokens))
        return ids.to(self.base.model.device)

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        """Return what is added to the attention's scores, [1, 1, tokens, tokens seen]: nothing where one is seen."""
        dtype = self.base.model.dtype
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return mask[None, None].to(self.base.model.device)


def _score(logits: torch.Tensor, completion: Ids) -> Scored:
    """Score one completion, whose first token the first of the logits [positions, vocabulary] foretells."""
    # In bf16 the normalising sum alone would be off by more than models differ.
    own = logits[: len(completion)].float()
    wanted = torch.tensor(list(completion), device=logits.device)[:, None]
    logps = own.gather(1, wanted)[:, 0] - own.logsumexp(dim=1)
    return Scored(float(logps.sum()), len(completion))

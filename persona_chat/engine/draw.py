"""Drawing the next token from the likeliest ones. Plain numbers; it knows no torch and no tokenizer."""

import math
from collections.abc import Sequence
from random import Random

from persona_chat.engine.reply import Sampling


def draw(ids: Sequence[int], logits: Sequence[float], said: Sequence[int], sampling: Sampling, rng: Random) -> int:
    """Return the next token out of the candidates `ids`, the likeliest first, after the tokens already `said`.

    The order is that of transformers: repetition penalty (https://arxiv.org/abs/1909.05858, of the reply's own tokens
    only), temperature, top-k, top-p, min-p. With temperature 0 it is the likeliest, of equals the first.
    """
    repeated = set(said)
    scores = [_punished(logit, sampling) if one in repeated else logit for one, logit in zip(ids, logits, strict=True)]
    ranked = sorted(range(len(ids)), key=lambda number: -scores[number])
    if sampling.temperature <= 0:
        return ids[ranked[0]]
    ranked = [number for number in ranked if scores[number] > -math.inf][: sampling.top_k]
    best = scores[ranked[0]]
    weights = [math.exp((scores[number] - best) / sampling.temperature) for number in ranked]
    kept = _nucleus(weights, sampling)
    mark = rng.random() * sum(weights[:kept])
    for number, weight in zip(ranked[:kept], weights, strict=False):
        mark -= weight
        if mark < 0:
            return ids[number]
    return ids[ranked[kept - 1]]  # the rounding of the sum


def _punished(logit: float, sampling: Sampling) -> float:
    penalty = sampling.repetition_penalty
    return logit / penalty if logit > 0 else logit * penalty


def _nucleus(weights: Sequence[float], sampling: Sampling) -> int:
    """How many of the weights, largest first and the first of them 1, are drawn from."""
    enough, reached, kept = sampling.top_p * sum(weights), 0.0, 0
    for weight in weights:
        if kept and (reached >= enough or weight < sampling.min_p):
            break
        reached += weight
        kept += 1
    return kept

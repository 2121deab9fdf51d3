"""What is counted in replies, and how sure each number is. Pure: texts and numbers in, numbers out."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from persona_chat.engine.again import has_placeholder

# The reply that scores best without reading anything: 23.1 % on spc_valid, above what good models were published
# with. An F1 says something only beside it.
CONSTANT_REPLY = "i like to you do it that is"

RESAMPLES = 1000

Floats = npt.NDArray[np.float64]

# As ParlAI counts F1: https://github.com/facebookresearch/ParlAI/blob/main/parlai/core/metrics.py
_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\]\\^`{|}~_'\u2018\u2019\u201c\u201d]")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

_OTHER_SPEAKER = re.compile(r"\bpersona [ab]\b|^\s*(?:user|assistant|system)\s*:", re.IGNORECASE)


@dataclass(frozen=True)
class Measured:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def words(text: str) -> list[str]:
    """Return the lower-case words; punctuation separates them."""
    return _PUNCTUATION.sub(" ", text.lower()).split()


def f1(reply: str, reference: str) -> float:
    """Return ConvAI2's F1, 0 to 1: of the words without articles, each counted as often as it stands in both."""
    told, meant = (_ARTICLES.sub(" ", " ".join(words(text))).split() for text in (reply, reference))
    shared = sum((Counter(told) & Counter(meant)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(told), shared / len(meant)
    return 2 * precision * recall / (precision + recall)


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """Return the runs of n words in their order."""
    found = words(text)
    return [tuple(found[start : start + n]) for start in range(len(found) - n + 1)]


def repeats_itself(reply: str) -> bool:
    """Whether some four words in a row come twice in the reply."""
    runs = ngrams(reply, 4)
    return len(set(runs)) < len(runs)


def breaks_the_form(completion: str, reply: str, *, stopped: bool) -> bool:
    """Whether a reply is none that a person could be sent as it was written.

    It names another speaker (in the completion: the reply is cut there), holds a placeholder, is empty, or went on
    to the token limit.
    """
    speaks_for_others = _OTHER_SPEAKER.search(completion.strip().removeprefix("Persona B:")) is not None
    return speaks_for_others or has_placeholder(reply) or not reply.strip() or not stopped


def mean(groups: Sequence[str], values: Sequence[float]) -> Measured:
    """Return the mean of the values; see `ratio`."""
    return ratio(groups, values, [1.0] * len(values))


def ratio(
    groups: Sequence[str],
    over: Sequence[float],
    under: Sequence[float],
    scale: Callable[[Floats], Floats] = lambda quotient: quotient,
) -> Measured:
    """Return scale(Σ over / Σ under) with a bootstrap interval: whole groups (conversations) are drawn anew.

    All three sequences are [rows]; every `under` is above 0. Rows of one conversation are alike, so drawing single
    rows would make the interval too narrow. The same groups give the same interval every time.
    """
    names, drawn = _resamples(groups)
    sums = np.zeros((2, len(names)))
    np.add.at(sums[0], [names[group] for group in groups], over)
    np.add.at(sums[1], [names[group] for group in groups], under)
    value = float(scale(np.asarray(sums[0].sum() / sums[1].sum())))
    low, high = np.quantile(scale((drawn @ sums[0]) / (drawn @ sums[1])), (0.025, 0.975))
    return Measured(value, float(low), float(high))


def distinct(groups: Sequence[str], texts: Sequence[str], n: int) -> Measured:
    """Return how many of all n-grams in the texts are different ones, 0 to 1; it falls with the number of texts.

    The interval is from the jackknife, which leaves out one group at a time: a group that a bootstrap draws twice has
    nothing different the second time, and its intervals came out twice as wide as the number really varies.
    """
    found: dict[str, Counter[tuple[str, ...]]] = {}
    for group, text in zip(groups, texts, strict=True):
        found.setdefault(group, Counter()).update(ngrams(text, n))
    holders = Counter(run for runs in found.values() for run in runs)
    total = sum(runs.total() for runs in found.values())
    if not total:
        return Measured(0.0, 0.0, 0.0)
    value, left = len(holders) / total, []
    for runs in found.values():
        only_here = sum(holders[run] == 1 for run in runs)
        left.append((len(holders) - only_here) / max(total - runs.total(), 1))
    wide = 1.96 * float(np.std(left)) * np.sqrt(len(left) - 1)
    return Measured(value, max(0.0, value - float(wide)), min(1.0, value + float(wide)))


def perplexity(groups: Sequence[str], logps: Sequence[float], tokens: Sequence[int]) -> Measured:
    """Return exp(-Σ log p / Σ tokens), of natural logarithms."""
    return ratio(groups, logps, tokens, lambda mean_logp: np.exp(-mean_logp))


def gain(groups: Sequence[str], logps: Sequence[float], without: Sequence[float], tokens: Sequence[int]) -> Measured:
    """Return the perplexity without the persona divided by that with it: above 1, the persona helps."""
    more = [logp - other for logp, other in zip(logps, without, strict=True)]
    return ratio(groups, more, tokens, np.exp)


def last_is_best(scores: Sequence[float]) -> bool:
    """Whether the last score is above all others; a tie is not."""
    return scores[-1] > max(scores[:-1])


def _resamples(groups: Sequence[str]) -> tuple[dict[str, int], Floats]:
    """Return the groups' numbers, and [resamples, groups]: how often each is drawn."""
    names = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    chance = np.random.default_rng(0)
    drawn = chance.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return names, drawn.astype(np.float64)

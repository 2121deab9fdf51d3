"""The gate: whether a candidate is good enough to take the place of the adapter in service. It measures nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from persona_chat.language import N_

Metrics = Mapping[str, Any]
"""By name what the evaluator measured: `{"value": …, "low": …, "high": …}`."""

MEASURED = "perplexity,repeated_4grams,protocol_errors,mean_words"
"""What the evaluator is asked for; `perplexity` is the group that holds the persona gain too."""

YARDSTICK_MEASURED = "perplexity"
YARDSTICK = "yardstick_"
"""How the names begin of what was measured on the project's own dialogues."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Bounds:
    """How much worse than the adapter in service a candidate may be. Shares are between 0 and 1."""

    perplexity_ratio: float = 1.02  # two trainings of the same data differ by about one per cent
    protocol_errors: float = 0.02  # one broken reply in fifty is seldom noticed
    persona_gain_ratio: float = 0.95  # a gain that falls further means that the persona is heeded less
    repeated_4grams: float = 0.05  # people's own turns reach about two per cent
    yardstick_perplexity_ratio: float = 1.05  # learning something else may cost a little of what was there
    accuracy_loss: float = 0.03  # four of the 140 probes, which sampling alone can turn
    fewest_rows: int = 10  # on fewer, chance decides


@dataclass(frozen=True)
class Line:
    """One metric on the card. `service` and `candidate` are None where they were not measured."""

    metric: str
    service: float | None
    candidate: float | None
    bound: float | None
    at_most: bool  # the bound is the highest value that passes, else the lowest
    share: bool  # between 0 and 1
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate may serve, why not, and the card's lines."""

    passed: bool
    reasons: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class _Rule:
    metric: str
    called: str
    at_most: bool
    bound: Callable[[float, Bounds], float]  # from the value in service
    share: bool = True
    always: bool = True  # else only where it was measured


def _most(metric: str, called: str, bound: Callable[[float, Bounds], float], **more: bool) -> _Rule:
    return _Rule(metric, called, True, bound, **more)


def _least(metric: str, called: str, bound: Callable[[float, Bounds], float], **more: bool) -> _Rule:
    return _Rule(metric, called, False, bound, **more)


_RULES = (
    _most("perplexity", N_("perplexity"), lambda now, b: now * b.perplexity_ratio, share=False),
    _least("persona_gain", N_("persona gain"), lambda now, b: now * b.persona_gain_ratio, share=False),
    _most("protocol_errors", N_("protocol errors"), lambda now, b: max(now, b.protocol_errors)),
    _most("repeated_4grams", N_("repeated phrases"), lambda now, b: max(now, b.repeated_4grams)),
    _most(
        f"{YARDSTICK}perplexity",
        N_("perplexity on our dialogues"),
        lambda now, b: now * b.yardstick_perplexity_ratio,
        share=False,
        always=False,
    ),
    _least(
        f"{YARDSTICK}persona_gain",
        N_("persona gain on our dialogues"),
        lambda now, b: now * b.persona_gain_ratio,
        share=False,
        always=False,
    ),
    _least("swap_accuracy", N_("persona swaps"), lambda now, b: now - b.accuracy_loss, always=False),
    _least("fact_accuracy", N_("facts"), lambda now, b: now - b.accuracy_loss, always=False),
)


def judge(candidate: Metrics, service: Metrics, rows: int, bounds: Bounds = Bounds()) -> Verdict:
    """Compare a candidate with the adapter in service, both measured on the same `rows`.

    What is missing or no finite number fails, on either side, and so do too few rows.
    """
    lines, reasons = [], []
    if rows < bounds.fewest_rows:
        reasons.append(f"{rows} rows are too few to compare on, at least {bounds.fewest_rows} are needed")
    for rule in _RULES:
        if not (rule.always or rule.metric in candidate or rule.metric in service):
            continue
        line = _line(rule, _value(candidate, rule.metric), _value(service, rule.metric), bounds)
        lines.append(line)
        if not line.passed:
            reasons.append(_reason(rule, line))
    return Verdict(not reasons, tuple(reasons), tuple(lines))


def _line(rule: _Rule, candidate: float | None, service: float | None, bounds: Bounds) -> Line:
    if candidate is None or service is None:
        return Line(rule.called, service, candidate, None, rule.at_most, rule.share, passed=False)
    bound = rule.bound(service, bounds)
    passed = candidate <= bound + _ROUNDING if rule.at_most else candidate >= bound - _ROUNDING
    return Line(rule.called, service, candidate, bound, rule.at_most, rule.share, passed)


def _reason(rule: _Rule, line: Line) -> str:
    if line.candidate is None:
        return f"{rule.called} could not be measured"
    if line.service is None or line.bound is None:
        return f"{rule.called} of the adapter in service could not be measured"
    side = "more" if rule.at_most else "less"
    return f"{rule.called} {shown(line.candidate, line.share)} is {side} than {shown(line.bound, line.share)}"


def shown(value: float | None, share: bool) -> str:
    """Write a metric's value for people: shares in per cent."""
    if value is None:
        return "–"
    return f"{value:.1%}" if share else f"{value:.2f}"


def _value(metrics: Metrics, name: str) -> float | None:
    measured = metrics.get(name)
    value = measured.get("value") if isinstance(measured, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)

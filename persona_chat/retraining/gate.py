"""The gate: whether a candidate is good enough to take the place of the adapter in service. It measures nothing."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Metrics = Mapping[str, Any]
"""By name what the evaluator measured: `{"value": …, "low": …, "high": …}`."""

MEASURED = "perplexity,repeated_4grams,protocol_errors,mean_words"
"""What the evaluator is asked for; `perplexity` is the group that holds the persona gain too."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Bounds:
    """How much worse than the adapter in service a candidate may be. Shares are between 0 and 1."""

    perplexity_ratio: float = 1.02  # two trainings of the same data differ by about one per cent
    protocol_errors: float = 0.02  # one broken reply in fifty is seldom noticed
    persona_gain_ratio: float = 0.95  # a gain that falls further means that the persona is heeded less
    repeated_4grams: float = 0.05  # people's own turns reach about two per cent
    accuracy_loss: float = 0.03  # four of the 140 probes, which sampling alone can turn


@dataclass(frozen=True)
class Line:
    """One metric on the card. `service` and `candidate` are None where they were not measured."""

    metric: str
    service: float | None
    candidate: float | None
    bound: float | None
    at_most: bool  # the bound is the highest value that passes, else the lowest
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
    always: bool = True  # else only where it was measured


_RULES = (
    _Rule("perplexity", "perplexity", True, lambda now, b: now * b.perplexity_ratio),
    _Rule("persona_gain", "persona gain", False, lambda now, b: now * b.persona_gain_ratio),
    _Rule("protocol_errors", "protocol errors", True, lambda now, b: max(now, b.protocol_errors)),
    _Rule("repeated_4grams", "repeated phrases", True, lambda now, b: max(now, b.repeated_4grams)),
    _Rule("swap_accuracy", "persona swaps", False, lambda now, b: now - b.accuracy_loss, always=False),
    _Rule("fact_accuracy", "facts", False, lambda now, b: now - b.accuracy_loss, always=False),
)


def judge(candidate: Metrics, service: Metrics, bounds: Bounds = Bounds()) -> Verdict:
    """Compare a candidate with the adapter in service, both measured on the same rows.

    What is missing or no finite number fails, on either side.
    """
    lines, reasons = [], []
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
        return Line(rule.called, service, candidate, None, rule.at_most, passed=False)
    bound = rule.bound(service, bounds)
    passed = candidate <= bound + _ROUNDING if rule.at_most else candidate >= bound - _ROUNDING
    return Line(rule.called, service, candidate, bound, rule.at_most, passed)


def _reason(rule: _Rule, line: Line) -> str:
    if line.candidate is None:
        return f"{rule.called} could not be measured"
    if line.service is None or line.bound is None:
        return f"{rule.called} of the adapter in service could not be measured"
    side = "more" if rule.at_most else "less"
    return f"{rule.called} {shown(rule.called, line.candidate)} is {side} than {shown(rule.called, line.bound)}"


def shown(called: str, value: float | None) -> str:
    """Write a metric's value for people: shares in per cent."""
    if value is None:
        return "–"
    return f"{value:.2f}" if called in ("perplexity", "persona gain") else f"{value:.1%}"


def _value(metrics: Metrics, name: str) -> float | None:
    measured = metrics.get(name)
    value = measured.get("value") if isinstance(measured, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)

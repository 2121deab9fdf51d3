"""The gate: what passes, what does not and why, and that nothing missing ever passes."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_chat.retraining import gate
from persona_chat.retraining.gate import Bounds, Verdict

SERVICE = {"perplexity": 3.2, "persona_gain": 1.2, "protocol_errors": 0.0, "repeated_4grams": 0.0}


def measured(**values: float | None) -> dict[str, Any]:
    """What the evaluator would print for the adapter in service, with some values changed or left out (None)."""
    found = {name: value for name, value in (SERVICE | values).items() if value is not None}
    return {name: {"value": value, "low": value, "high": value} for name, value in found.items()}


def judge(candidate: dict[str, Any], service: dict[str, Any]) -> Verdict:
    return gate.judge(candidate, service, 50)


def test_a_candidate_as_good_as_the_adapter_in_service_passes() -> None:
    verdict = judge(measured(), measured())
    assert verdict.passed
    assert verdict.reasons == ()
    assert [line.metric for line in verdict.lines] == [
        "perplexity",
        "persona gain",
        "protocol errors",
        "repeated phrases",
    ]


@pytest.mark.parametrize(
    ("metric", "passes", "fails"),
    [
        ("perplexity", 3.26, 3.27),
        ("persona_gain", 1.14, 1.13),
        ("protocol_errors", 0.02, 0.021),
        ("repeated_4grams", 0.05, 0.051),
    ],
)
def test_each_bound_lies_where_it_is_said_to(metric: str, passes: float, fails: float) -> None:
    assert judge(measured(**{metric: passes}), measured()).passed
    verdict = judge(measured(**{metric: fails}), measured())
    assert not verdict.passed
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize("metric", ["protocol_errors", "repeated_4grams"])
def test_what_is_bad_already_must_only_not_get_worse(metric: str) -> None:
    bad = measured(**{metric: 0.4})
    assert judge(bad, bad).passed
    assert judge(measured(**{metric: 0.3}), bad).passed
    assert not judge(measured(**{metric: 0.41}), bad).passed


@pytest.mark.parametrize("metric", ["swap_accuracy", "fact_accuracy"])
def test_accuracies_count_where_they_were_measured(metric: str) -> None:
    assert judge(measured(**{metric: 0.89}), measured(**{metric: 0.92})).passed
    assert not judge(measured(**{metric: 0.88}), measured(**{metric: 0.92})).passed
    assert not judge(measured(), measured(**{metric: 0.92})).passed
    assert not judge(measured(**{metric: 0.92}), measured()).passed


@pytest.mark.parametrize("metric", SERVICE)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_missing_or_no_number_fails_on_either_side(metric: str, value: float | None) -> None:
    broken = measured(**{metric: value})
    for candidate, service in ((broken, measured()), (measured(), broken), (broken, broken)):
        verdict = judge(candidate, service)
        assert not verdict.passed
        assert "could not be measured" in verdict.reasons[0]


@pytest.mark.parametrize("junk", [{}, {"perplexity": None}, {"perplexity": 3.0}, {"perplexity": {"value": "3.0"}}])
def test_what_the_evaluator_never_prints_fails(junk: dict[str, Any]) -> None:
    assert not judge(junk, measured()).passed


def test_on_our_own_dialogues_a_little_may_be_lost_and_no_more() -> None:
    service = measured(yardstick_perplexity=4.0, yardstick_persona_gain=1.2)
    assert judge(measured(yardstick_perplexity=4.2, yardstick_persona_gain=1.14), service).passed
    assert not judge(measured(yardstick_perplexity=4.21, yardstick_persona_gain=1.2), service).passed
    assert not judge(measured(yardstick_perplexity=4.0, yardstick_persona_gain=1.13), service).passed
    assert not judge(measured(yardstick_perplexity=4.0), service).passed


def test_few_rows_decide_nothing() -> None:
    assert gate.judge(measured(), measured(), 10).passed
    verdict = gate.judge(measured(), measured(), 9)
    assert not verdict.passed
    assert verdict.reasons == ("9 rows are too few to compare on, at least 10 are needed",)


def test_the_card_says_what_was_measured_and_what_would_have_passed() -> None:
    line = judge(measured(perplexity=4.0), measured()).lines[0]
    assert (line.metric, line.service, line.candidate, line.at_most, line.passed) == (
        "perplexity",
        3.2,
        4.0,
        True,
        False,
    )
    assert line.bound == pytest.approx(3.264)


def test_the_reason_is_fit_for_a_person() -> None:
    verdict = judge(measured(perplexity=4.0, protocol_errors=0.1), measured())
    assert verdict.reasons == ("perplexity 4.00 is more than 3.26", "protocol errors 10.0% is more than 2.0%")


def test_every_bound_is_used() -> None:
    service = measured(swap_accuracy=0.9, fact_accuracy=0.9, yardstick_perplexity=4.0)
    for name, strict in (
        ("perplexity_ratio", 0.9),
        ("protocol_errors", -1.0),
        ("persona_gain_ratio", 1.1),
        ("repeated_4grams", -1.0),
        ("accuracy_loss", -0.1),
        ("yardstick_perplexity_ratio", 0.9),
        ("fewest_rows", 51),
    ):
        stricter = replace(Bounds(), **{name: strict})
        candidate = measured(
            swap_accuracy=0.9,
            fact_accuracy=0.9,
            protocol_errors=0.01,
            repeated_4grams=0.01,
            yardstick_perplexity=4.0,
        )
        assert judge(candidate, service).passed
        assert not gate.judge(candidate, service, 50, stricter).passed, name


@given(
    st.dictionaries(st.sampled_from(sorted(SERVICE)), st.floats(allow_nan=True), min_size=1),
    st.dictionaries(st.sampled_from(sorted(SERVICE)), st.floats(allow_nan=True), min_size=1),
)
def test_whatever_is_measured_a_verdict_comes_with_reasons_exactly_when_it_failed(
    candidate: dict[str, float], service: dict[str, float]
) -> None:
    verdict = judge(measured(**candidate), measured(**service))
    assert verdict.passed == (not verdict.reasons) == all(line.passed for line in verdict.lines)
    for line in verdict.lines:
        if line.passed:
            assert line.candidate is not None
            assert math.isfinite(line.candidate)

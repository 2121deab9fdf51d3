"""The probes: questions whose right answer a persona decides, each with a rule that tells right replies from wrong."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import pytest

from persona_chat import template
from persona_chat.dialogue import Speaker

FILE = Path(__file__).parent.parent / "examples/probes.jsonl"


class Probe(TypedDict):
    persona: str
    id: str
    about: str
    persona_b: list[str]
    dialogue: list[str]
    kind: str
    must: list[list[str]]
    must_not: list[str]
    right: list[str]
    wrong: list[str]


PROBES: list[Probe] = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]

each_probe = pytest.mark.parametrize("probe", PROBES, ids=[probe["id"] for probe in PROBES])


def is_right(probe: Probe, reply: str) -> bool:
    """Whether every list of `must` has a pattern that the reply matches, and no pattern of `must_not` matches it."""

    def found(patterns: Sequence[str]) -> bool:
        return any(re.search(pattern, reply, re.IGNORECASE) for pattern in patterns)

    return all(found(patterns) for patterns in probe["must"]) and not found(probe["must_not"])


def persona_fields(probe: Probe) -> Mapping[str, object]:
    return {"about": probe["about"], "persona_b": probe["persona_b"], "dialogue": probe["dialogue"]}


@each_probe
def test_a_probe_has_exactly_its_fields(probe: Probe) -> None:
    assert set(probe) == set(Probe.__annotations__)
    assert probe["id"].startswith(f"{probe['persona']}-")
    assert probe["must"]
    assert all(probe["must"])
    assert len(probe["right"]) == len(probe["wrong"]) == 3


@each_probe
def test_a_probe_is_an_example_that_ends_with_a_question_to_person_b(probe: Probe) -> None:
    persona, dialogue = template.read_example(persona_fields(probe))
    assert persona.about or persona.facts
    assert [turn.speaker for turn in dialogue][-1] is Speaker.A
    assert len(dialogue) in (1, 5)


@each_probe
def test_the_patterns_of_a_probe_compile(probe: Probe) -> None:
    for pattern in [*probe["must_not"], *(pattern for patterns in probe["must"] for pattern in patterns)]:
        re.compile(pattern, re.IGNORECASE)


@each_probe
def test_right_replies_pass_and_wrong_ones_fail(probe: Probe) -> None:
    assert [reply for reply in probe["right"] if not is_right(probe, reply)] == []
    assert [reply for reply in probe["wrong"] if is_right(probe, reply)] == []


@each_probe
def test_an_empty_reply_and_a_typographic_apostrophe_are_judged_alike(probe: Probe) -> None:
    assert not is_right(probe, "")
    assert all(is_right(probe, reply.replace("'", "\u2019")) for reply in probe["right"])
    assert not any(is_right(probe, reply.replace("'", "\u2019")) for reply in probe["wrong"])


def test_there_are_enough_probes_over_twenty_personas() -> None:
    assert len(PROBES) >= 120
    assert len({probe["persona"] for probe in PROBES}) == 20
    assert len({probe["id"] for probe in PROBES}) == len(PROBES)


def test_a_persona_is_the_same_in_all_its_probes() -> None:
    assert len({(probe["persona"], probe["about"], *probe["persona_b"]) for probe in PROBES}) == 20


def test_the_kinds_are_balanced() -> None:
    kinds = Counter(probe["kind"] for probe in PROBES)
    assert set(kinds) == {"direct", "indirect", "opposite"}
    assert max(kinds.values()) - min(kinds.values()) <= 0.1 * len(PROBES)


def test_facts_stand_in_the_list_in_the_text_or_in_both_about_equally_often() -> None:
    places = Counter((bool(probe["about"]), bool(probe["persona_b"])) for probe in PROBES)
    assert set(places) == {(True, False), (False, True), (True, True)}
    assert min(places.values()) >= 0.25 * len(PROBES)

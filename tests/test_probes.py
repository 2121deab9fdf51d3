"""The probes: questions whose right answer a persona decides, each with a rule that tells right replies from wrong."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from persona_chat.dialogue import Speaker
from persona_chat.errors import InputError
from training.probes import KINDS, PROBES, Probe, is_right, read_probes

ALL = read_probes(PROBES)

each_probe = pytest.mark.parametrize("probe", ALL, ids=[probe.id for probe in ALL])


@each_probe
def test_a_probe_has_a_rule_and_three_examples_of_each_side(probe: Probe) -> None:
    assert probe.id.startswith(f"{probe.persona_id}-")
    assert probe.must
    assert all(probe.must)
    assert len(probe.right) == len(probe.wrong) == 3


@each_probe
def test_a_probe_is_an_example_that_ends_with_a_question_to_person_b(probe: Probe) -> None:
    assert probe.persona.about or probe.persona.facts
    assert probe.dialogue[-1].speaker is Speaker.A
    assert len(probe.dialogue) in (1, 5)


@each_probe
def test_right_replies_pass_and_wrong_ones_fail(probe: Probe) -> None:
    assert [reply for reply in probe.right if not is_right(probe, reply)] == []
    assert [reply for reply in probe.wrong if is_right(probe, reply)] == []


@each_probe
def test_an_empty_reply_and_a_typographic_apostrophe_are_judged_alike(probe: Probe) -> None:
    assert not is_right(probe, "")
    assert all(is_right(probe, reply.replace("'", "\u2019")) for reply in probe.right)
    assert not any(is_right(probe, reply.replace("'", "\u2019")) for reply in probe.wrong)


def test_there_are_enough_probes_over_twenty_personas() -> None:
    assert len(ALL) >= 120
    assert len({probe.persona_id for probe in ALL}) == 20
    assert len({probe.id for probe in ALL}) == len(ALL)


def test_a_persona_is_the_same_in_all_its_probes() -> None:
    assert len({(probe.persona_id, probe.persona) for probe in ALL}) == 20


def test_the_kinds_are_balanced() -> None:
    kinds = Counter(probe.kind for probe in ALL)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) - min(kinds.values()) <= 0.1 * len(ALL)


def test_facts_stand_in_the_list_in_the_text_or_in_both_about_equally_often() -> None:
    places = Counter((bool(probe.persona.about), bool(probe.persona.facts)) for probe in ALL)
    assert set(places) == {(True, False), (False, True), (True, True)}
    assert min(places.values()) >= 0.25 * len(ALL)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "sly"}, "`kind` is none of direct, indirect, opposite"),
        ({"must": []}, "`must` has to be a list of lists"),
        ({"must": [["("]]}, "`must` holds a pattern that is none"),
        ({"must_not": "no"}, "`must_not` has to be a list of texts"),
        ({"note": ""}, "exactly the fields"),
        ({"dialogue": ["Persona B: Hi"]}, "must end with a line of Persona A"),
    ],
)
def test_a_probe_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, object], says: str) -> None:
    line = PROBES.read_text(encoding="utf-8").splitlines()[0]
    file = tmp_path / "mine.jsonl"
    file.write_text(f"{line}\n{json.dumps(json.loads(line) | change)}\n")
    with pytest.raises(InputError, match=f"mine.jsonl, line 2: .*{re.escape(says)}"):
        read_probes(file)


@pytest.mark.parametrize(("content", "says"), [(None, "no such file"), ("", "no probes"), ("{", "line 1: is not JSON")])
def test_a_file_without_probes_is_said(tmp_path: Path, content: str | None, says: str) -> None:
    file = tmp_path / "mine.jsonl"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=says):
        read_probes(file)

"""The project's own dialogues: every row is one that training and evaluation can read."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from persona_chat import template
from persona_chat.dialogue import Speaker
from persona_chat.example import example_personas

FILE = Path(__file__).parent.parent / "examples/dialogues.jsonl"
FIELDS = {"persona_b", "dialogue", "reference", "conv_id"}
# Kept for the evaluation.
HELD_OUT = re.compile(r"\b(?:Vera|Nemo|David|Pickles)\b|lighthouse[^\"]*Norway")
PLACEHOLDER = re.compile(r"\[[^\]]*\]|\{[^}]*\}|<[^>]*>|\b(?:user|participant|persona)[ _][12]\b|lorem ipsum", re.I)


@cache
def rows() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines())


def texts(row: dict[str, Any]) -> list[str]:
    return [*row["persona_b"], *row["dialogue"], row["reference"]]


def test_there_are_enough_rows_and_conversations() -> None:
    assert len(rows()) >= 300
    assert len({row["conv_id"] for row in rows()}) >= 100


def test_every_row_is_read_and_a_person_a_line_is_answered() -> None:
    for row in rows():
        assert set(row) == FIELDS
        persona, dialogue = template.read_example(row)
        assert 3 <= len(persona.facts) <= 6
        assert all(fact == fact.strip() != "" for fact in persona.facts)
        assert 1 <= len(dialogue) <= 11
        assert [turn.speaker for turn in dialogue] == [(Speaker.A, Speaker.B)[i % 2] for i in range(len(dialogue))]
        assert all(turn.text == turn.text.strip() != "" for turn in dialogue)
        assert re.fullmatch(r"own-\d{3}", row["conv_id"])


def test_every_reference_is_what_the_bot_would_say_of_it() -> None:
    for row in rows():
        reference = row["reference"]
        assert template.read_reply(f" {reference}") == reference
        assert len(reference.splitlines()) == 1
        assert "Persona" not in reference
        assert 3 <= len(reference.split()) <= 30


def test_the_rows_of_one_conversation_belong_together() -> None:
    conversations: dict[str, list[dict[str, Any]]] = {}
    for row in rows():
        conversations.setdefault(row["conv_id"], []).append(row)
    for cut in conversations.values():
        assert len({tuple(row["persona_b"]) for row in cut}) == 1
        longest = max((row["dialogue"] for row in cut), key=len)
        for row in cut:
            spoken = row["dialogue"]
            assert longest[: len(spoken)] == spoken
            assert longest[len(spoken) :][:1] in ([], [f"Persona B: {row['reference']}"])


def test_no_row_stands_twice_and_references_hardly_repeat() -> None:
    pairs = {(tuple(row["persona_b"]), tuple(row["dialogue"])) for row in rows()}
    assert len(pairs) == len(rows())
    assert len({row["reference"] for row in rows()}) > 0.95 * len(rows())
    personas = {row["conv_id"]: tuple(row["persona_b"]) for row in rows()}
    assert len(set(personas.values())) == len(personas)


@pytest.mark.parametrize("unwanted", [PLACEHOLDER, HELD_OUT, re.compile(r"\bas an ai\b", re.I)])
def test_nothing_unwanted_stands_in_a_text(unwanted: re.Pattern[str]) -> None:
    assert not [text for row in rows() for text in texts(row) if unwanted.search(text)]


def test_there_are_personas_to_choose_from() -> None:
    personas = example_personas()
    assert len({persona.name for persona in personas}) >= 6
    assert all(persona.about and persona.facts and persona.greeting for persona in personas)

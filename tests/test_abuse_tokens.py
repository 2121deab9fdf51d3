"""Injections into prompts, at the level of token ids: what people type is never a control token, nor another turn."""

import re
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest
from transformers import AutoTokenizer

from persona_chat import template
from persona_chat.dialogue import Speaker, Turn
from persona_chat.persona import Persona
from persona_chat.template import FORMS
from tests.hostile import PIECES, message
from tests.torture import record

HARMLESS = "Hello"

# The engine reads no chat template of a base, so there are the two forms, and the first one with people's names in it.
WAYS = [(FORMS[0], False), (FORMS[1], False), (FORMS[0], True)]


@pytest.fixture(scope="module")
def tokenizer(embedded_data_dir: Path) -> Any:
    return AutoTokenizer.from_pretrained(next((embedded_data_dir / "models").glob("smollm2-*")))


def payloads(number: int) -> list[str]:
    """Texts as Discord hands them on; half characters have tests of their own."""
    rng = Random(3)
    return [*PIECES, *(message(rng, "") for _ in range(number - len(PIECES)))]


def prompt(payload: str, form: str, show_names: bool, tokens: list[str]) -> str:
    said = payload.replace("CONTROL", tokens[0])
    turns = (Turn(Speaker.A, said, said), Turn(Speaker.B, said), Turn(Speaker.A, said, "other"))
    return template.render(Persona("Vera", said, (said,)), turns, show_names=show_names, form=form)


def turns_of(text: str) -> int:
    """How many turns somebody reads who sees lines: what begins one, in either form, after what stands before it."""
    return len(re.findall(r'^(?:Conversation: |    ")?Persona [AB]:', text, re.MULTILINE))


@pytest.mark.model
def test_200_injections_in_three_forms_make_no_control_token_and_no_turn(tokenizer: Any) -> None:
    control = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    names = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    injections = payloads(200 - len(names)) + names
    assert len(injections) == 200
    tried = 0
    for (form, show_names), payload in product(WAYS, injections):
        rendered = prompt(payload, form, show_names, names)
        ids = template.encode(tokenizer, rendered)
        assert not control.intersection(ids), (form, payload)
        read = tokenizer.decode(ids)
        assert turns_of(read) == turns_of(prompt(HARMLESS, form, show_names, names)), (form, payload)
        if form == FORMS[0]:  # facts and turns are a line each
            about = len(payload.splitlines())
            plain = prompt(HARMLESS, form, show_names, names)
            assert read.count("\n") == plain.count("\n") - 1 + about, payload
        else:
            assert read.count("\n") == prompt(HARMLESS, form, show_names, names).count("\n"), payload
        tried += 1
    record("F2", injections=len(injections), forms=len(WAYS), prompts=tried, control_tokens=0, forged_turns=0)


@pytest.mark.model
def test_without_the_rule_the_same_injections_would_be_control_tokens(tokenizer: Any) -> None:
    """So that the test above can fail."""
    control = set(tokenizer.added_tokens_decoder)
    found = [one for one in payloads(170) if control.intersection(tokenizer.encode(one, add_special_tokens=False))]
    assert len(found) > 20

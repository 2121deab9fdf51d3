"""Rendered rows: exactly the serving prompt, and labels on Person B's words and the end of the reply alone."""

import random
from pathlib import Path
from typing import Any

import pytest

from persona_chat import template
from persona_chat.dialogue import Speaker, Turn
from persona_chat.engine import base
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from training.examples import IGNORED, Example, Renderer, longest_of_each, schedule, varied
from training.recipe import Recipe, choose_recipe, read_override
from training.rows import Row, read_rows

pytestmark = pytest.mark.model

OWN = Path(__file__).parents[1] / "examples/dialogues.jsonl"
ODD = Row(
    Persona("", 'She says "hi".\nSecond line', ("I write \\ and { }.",)),
    (
        Turn(Speaker.A, 'Do you know "dialogue" = [?'),
        Turn(Speaker.B, 'Yes: "Persona B:" <|im_end|> … \\n'),
        Turn(Speaker.A, "Yes"),
        Turn(Speaker.B, "Yes"),
        Turn(Speaker.A, "🦜?"),
    ),
    "Naïve 🦜 answer.",
    "odd",
)


@pytest.fixture(scope="module")
def tokenizer(embedded_settings: Settings) -> Any:
    return base.load_tokenizer(base.choose(embedded_settings), embedded_settings.data_dir)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows(str(OWN), 120)


def renderer(tokenizer: Any, **changes: Any) -> Renderer:
    return Renderer(tokenizer, tokenizer.eos_token_id, Recipe(**changes))


def learned(example: Example, tokenizer: Any) -> str:
    return str(tokenizer.decode([label for label in example.labels if label != IGNORED]))


def test_the_prompt_is_what_serving_would_give_and_the_reply_ends_with_eos(tokenizer: Any, rows: list[Row]) -> None:
    for row in [*rows, ODD]:
        example = renderer(tokenizer).example(row)
        assert example is not None
        prompt = template.encode(tokenizer, template.render(row.persona, row.dialogue))
        said = tokenizer.encode(f" {row.reference}", add_special_tokens=False)
        assert list(example.input_ids) == [*prompt, *said, tokenizer.eos_token_id]
        assert list(example.labels[len(prompt) :]) == [*said, tokenizer.eos_token_id]


def test_what_is_learned_is_what_person_b_says(tokenizer: Any, rows: list[Row]) -> None:
    for row in rows:
        example = renderer(tokenizer).example(row)
        assert example is not None
        spoken = "".join(f" {turn.text}" for turn in row.dialogue if turn.speaker is Speaker.B)
        text = learned(example, tokenizer).removesuffix(f" {row.reference}{tokenizer.eos_token}")
        # A full stop that shares its token with the closing quote is not learned there.
        assert [word.rstrip('.!?",') for word in text.split()] == [word.rstrip('.!?",') for word in spoken.split()]
        assert all(label in (IGNORED, token) for label, token in zip(example.labels, example.input_ids, strict=True))


def test_with_loss_on_the_reference_only_that_is_learned(tokenizer: Any) -> None:
    example = renderer(tokenizer, loss_on="reference").example(ODD)
    assert example is not None
    assert learned(example, tokenizer) == f" {ODD.reference}{tokenizer.eos_token}"


def test_over_the_limit_old_turns_go_and_a_row_that_never_fits_is_left_out(tokenizer: Any) -> None:
    long = Row(ODD.persona, (*ODD.dialogue[:4] * 30, ODD.dialogue[4]), ODD.reference, "long")
    example = renderer(tokenizer, max_tokens=256).example(long)
    assert example is not None
    assert 200 < len(example.input_ids) <= 256
    assert tokenizer.decode(example.input_ids).endswith(f'🦜?"\n]}}\nPersona B: {ODD.reference}{tokenizer.eos_token}')
    assert renderer(tokenizer, max_tokens=64).example(ODD) is None


def test_facts_change_order_and_place_and_none_is_lost() -> None:
    persona = Persona("", "", tuple(f"I have {number} dogs." for number in range(5)))
    draw, places = random.Random(0), set()
    for _ in range(60):
        moved = varied(persona, draw)
        kept = moved.about.replace("\n", " ").replace(". ", ".|").split("|") if moved.about else []
        assert sorted([*kept, *moved.facts]) == sorted(persona.facts)
        places.add((bool(moved.about), bool(moved.facts)))
    assert places == {(True, True), (True, False), (False, True)}
    told = Persona("", "Vera keeps a lighthouse.", ("I have a parrot.",))
    assert varied(told, draw) == told


def test_the_schedule_is_the_same_for_a_seed_and_fills_every_step(tokenizer: Any, rows: list[Row]) -> None:
    recipe = Recipe(rows_per_step=8, max_tokens=512)
    made = schedule(rows, renderer(tokenizer), recipe, 20)
    assert len(made) == 160
    assert made == schedule(rows, renderer(tokenizer), recipe, 20)
    assert made != schedule(rows, renderer(tokenizer), Recipe(rows_per_step=8, max_tokens=512, seed=1), 20)
    assert len({example.input_ids for example in made[:120]}) == 120
    # Rows of like length stand together.
    spread = [max(map(width, step)) / min(map(width, step)) for step in (made[i : i + 8] for i in range(0, 120, 8))]
    assert sorted(spread)[len(spread) // 2] < 1.15


def width(example: Example) -> int:
    return len(example.input_ids)


def test_shorter_cuts_of_a_conversation_are_left_to_the_longest(rows: list[Row]) -> None:
    kept = longest_of_each(rows)
    assert len(kept) == len({row.conv_id for row in rows})
    for row in kept:
        assert all(len(row.dialogue) >= len(other.dialogue) for other in rows if other.conv_id == row.conv_id)


def test_a_recipe_is_chosen_by_base_and_any_field_can_be_replaced() -> None:
    assert choose_recipe(None, "unsloth/Llama-3.2-1B")[0] == "original"
    name, recipe = choose_recipe(None, "embedded", **dict([read_override("learning_rate=3e-4")]))
    assert (name, recipe.learning_rate) == ("small", 3e-4)
    original = choose_recipe("original", "embedded")[1]
    assert (original.rank, original.alpha, original.learning_rate, original.seed) == (16, 16, 2e-4, 3407)
    assert (original.schedule, original.warmup_steps, original.weight_decay) == ("linear", 5, 0.01)


@pytest.mark.parametrize("text", ["speed=1", "rank", "rank=many", "facts_move=maybe"])
def test_an_unknown_or_unreadable_field_is_refused(text: str) -> None:
    from persona_chat.errors import InputError

    with pytest.raises(InputError):
        read_override(text)

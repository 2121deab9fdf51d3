"""Rows as the trainer gets them: token ids and labels, made by the template. It knows no model and no trainer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from persona_chat import template
from persona_chat.errors import InputError
from persona_chat.persona import Persona
from training.recipe import Recipe
from training.rows import Row

IGNORED = -100
"""The label of a token that is read and not learned."""


@dataclass(frozen=True)
class Example:
    """One row, rendered. `labels` [tokens] are `input_ids` [tokens] where Person B speaks, else IGNORED."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


class Renderer:
    """Turns rows into examples with one tokenizer (a fast one: where a token lies in the text must be known)."""

    def __init__(self, tokenizer: Any, eos_id: int, recipe: Recipe) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("This base's tokenizer cannot say where its tokens lie in a text; choose another base.")
        self._tokenizer = tokenizer
        self._eos_id = eos_id
        self._recipe = recipe
        self._control = {i for i, token in tokenizer.added_tokens_decoder.items() if str(token).strip()}
        self._leading = template.encode(tokenizer, "")

    def example(self, row: Row, persona: Persona | None = None) -> Example | None:
        """Render the row, as `persona` if one is given; None when not even its last turn fits `max_tokens`."""
        persona = persona or row.persona
        completion = self._tokenizer.encode(f" {row.reference}", add_special_tokens=False, split_special_tokens=True)
        room = self._recipe.max_tokens - len(completion) - 1
        try:
            turns = template.fit(persona, row.dialogue, room, self._count)
        except InputError:
            return None
        prompt = template.render(persona, turns)
        spans = template.spans_of_b(prompt, turns) if self._recipe.loss_on == "every B turn" else []
        ids, labels = self._encode(prompt, spans)
        said = [*completion, self._eos_id]
        return Example((*self._leading, *ids, *said), (*(IGNORED for _ in self._leading), *labels, *said))

    def _count(self, prompt: str) -> int:
        return len(self._leading) + len(
            self._tokenizer.encode(prompt, add_special_tokens=False, split_special_tokens=True)
        )

    def _encode(self, prompt: str, spans: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """The prompt's ids as `template.encode` gives them, and labels for tokens that lie wholly in a span."""
        coded = self._tokenizer(
            prompt, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
        )
        ids, labels, waiting = [], [], list(spans)
        for token, (start, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
            if token in self._control:
                continue
            while waiting and start >= waiting[0][1]:
                waiting.pop(0)
            spoken = bool(waiting) and waiting[0][0] <= start and end <= waiting[0][1]
            ids.append(token)
            labels.append(token if spoken else IGNORED)
        return ids, labels


def varied(persona: Persona, draw: random.Random) -> Persona:
    """Let the facts change order and place: all in the list (half the time), all in `about`, or split.

    A persona that has an `about` already keeps its facts in the list, in a new order.
    """
    facts = list(persona.facts)
    draw.shuffle(facts)
    if persona.about or not facts:
        return replace(persona, facts=tuple(facts))
    place = draw.random()
    cut = 0 if place < 0.5 else len(facts) if place < 0.75 else draw.randint(1, len(facts))
    about = ("\n" if draw.random() < 0.5 else " ").join(facts[:cut])
    return replace(persona, about=about, facts=tuple(facts[cut:]))


def schedule(rows: Sequence[Row], renderer: Renderer, recipe: Recipe, steps: int) -> list[Example]:
    """Return the examples of all steps in their order, `rows_per_step` for each; the same for the same seed.

    Each pass over the rows has an order and a placing of facts of its own. Rows of like length stand together, for
    short ones should not wait for long ones, and the groups are shuffled.
    """
    draw = random.Random(recipe.seed)  # noqa: S311  not for secrets
    made: list[Example] = []
    wanted = steps * recipe.rows_per_step
    while len(made) < wanted:
        order = list(rows)
        draw.shuffle(order)
        one_pass: list[Example] = []
        for row in order[: wanted - len(made)]:
            example = renderer.example(row, varied(row.persona, draw) if recipe.facts_move else None)
            if example is not None:
                one_pass.append(example)
        if not one_pass:
            raise InputError("Not one of these rows fits the recipe's max_tokens.")
        made += _grouped(one_pass, recipe.rows_per_step, draw)
    return made[:wanted]


def _grouped(examples: list[Example], size: int, draw: random.Random) -> list[Example]:
    groups = []
    for start in range(0, len(examples), size * 16):
        near = sorted(examples[start : start + size * 16], key=lambda example: len(example.input_ids))
        groups += [near[i : i + size] for i in range(0, len(near), size)]
    # What does not fill a group would shift all that follow it.
    whole, rest = [group for group in groups if len(group) == size], [g for g in groups if len(g) < size]
    draw.shuffle(whole)
    return [example for group in [*whole, *rest] for example in group]


def longest_of_each(rows: Sequence[Row]) -> list[Row]:
    """Keep, of rows cut from one conversation, those that no longer one contains.

    With loss on every Person B turn the longer row teaches what the shorter one does.
    """
    kept: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: -len(row.dialogue)):
        others = kept.setdefault(row.conv_id, [])
        if not any(_contains(other, row) for other in others):
            others.append(row)
    chosen = {id(row) for rows_of_one in kept.values() for row in rows_of_one}
    return [row for row in rows if id(row) in chosen]


def _contains(long: Row, short: Row) -> bool:
    said = [turn.text for turn in short.dialogue] + [short.reference]
    heard = [turn.text for turn in long.dialogue] + [long.reference]
    return long.persona == short.persona and heard[: len(said)] == said

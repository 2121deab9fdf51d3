"""Persona-swap pairs made for tests: two personas, the same talk, and replies that fit one of them each."""

from typing import Any

from persona_chat.dialogue import Speaker, Turn
from persona_chat.persona import Persona
from training.rows import Row


def pair(number: int, one: int, other: int) -> list[Row]:
    """Two rows that differ in the persona's age alone."""
    dialogue = (Turn(Speaker.A, "Hi!"), Turn(Speaker.B, "Hello!"), Turn(Speaker.A, "How old are you?"))
    return [
        Row(
            Persona("", "", (f"I am {age} years old.", "I like boats.")),
            dialogue,
            f"I am {age} years old.",
            f"swap_{number}_{side}",
            pair_id=str(number),
        )
        for side, age in (("a", one), ("b", other))
    ]


def record(row: Row) -> dict[str, Any]:
    return {
        "persona_b": list(row.persona.facts),
        "dialogue": [f"{turn.speaker}: {turn.text}" for turn in row.dialogue],
        "reference": row.reference,
        "conv_id": row.conv_id,
        "pair_id": row.pair_id,
    }

"""The template's example persona, who is there in the demo before anybody set somebody, and the project's files."""

import json
from pathlib import Path

from persona_chat.persona import Persona, make_persona

DAVID = Persona(
    name="David",
    about=(
        "My name is David and I'm a 35 year old math teacher.\n"
        "I like to hike and spend time in the nature.\n"
        "I'm married with two kids."
    ),
    facts=(
        "I am most proud of my ability to connect with nature and animals.",
        "I have never been arrested, but my stories might make you think otherwise.",
        "i love family time.",
        "my parents both are school teachers.",
        "I'm afraid of being in a situation where I can't communicate with my wife.",
    ),
)


def example_personas() -> tuple[Persona, ...]:
    """Return the personas of `examples/personas.jsonl`."""
    lines = example_file("personas.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(make_persona(**json.loads(line)) for line in lines)


def example_file(name: str) -> Path:
    """Return where a file of `examples/` is: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "examples" / name
    return inside if inside.is_file() else package.parent / "examples" / name

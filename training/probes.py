"""Probes: questions whose right answer a persona decides, each with a rule that tells right replies from wrong."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_chat import template
from persona_chat.dialogue import Dialogue
from persona_chat.errors import InputError
from persona_chat.example import example_file
from persona_chat.persona import Persona

PROBES = example_file("probes.jsonl")
"""The project's own, where it is run from its source."""

KINDS = ("direct", "indirect", "opposite")
FIELDS = {"persona", "id", "about", "persona_b", "dialogue", "kind", "must", "must_not", "right", "wrong"}


@dataclass(frozen=True)
class Probe:
    """A dialogue that ends with a question about a fact. `must` and `must_not` are patterns, any case.

    `kind` says how it asks: directly, indirectly, or by offering the opposite. `right` and `wrong` are examples of
    replies, by which the patterns are tested.
    """

    id: str
    persona_id: str
    kind: str
    persona: Persona
    dialogue: Dialogue
    must: tuple[tuple[str, ...], ...]
    must_not: tuple[str, ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def is_right(probe: Probe, reply: str) -> bool:
    """Whether every list of `must` has a pattern that the reply matches, and no pattern of `must_not` matches it."""

    def found(patterns: Sequence[str]) -> bool:
        return any(re.search(pattern, reply, re.IGNORECASE) for pattern in patterns)

    return all(found(patterns) for patterns in probe.must) and not found(probe.must_not)


def read_probes(file: Path) -> tuple[Probe, ...]:
    """Read a file of probes, one JSON object a line. Raises InputError that names file, line and field."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError(f"{file}: there is no such file. Give one with --probes.") from None
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{file}: cannot be read as UTF-8 text.") from None
    probes = []
    for number, line in enumerate(lines, 1):
        try:
            probes.append(_read_probe(json.loads(line)))
        except InputError as error:
            raise InputError(f"{file.name}, line {number}: {error}") from None
        except (ValueError, RecursionError):
            raise InputError(f"{file.name}, line {number}: is not JSON.") from None
    if not probes:
        raise InputError(f"{file.name} holds no probes.")
    return tuple(probes)


def _read_probe(data: object) -> Probe:
    if not isinstance(data, dict) or set(data) != FIELDS:
        raise InputError(f"a probe is an object with exactly the fields {', '.join(sorted(FIELDS))}.")
    persona, dialogue = template.read_example({name: data[name] for name in ("about", "persona_b", "dialogue")})
    if data["kind"] not in KINDS:
        raise InputError(f"`kind` is none of {', '.join(KINDS)}.")
    if not isinstance(data["must"], list) or not data["must"]:
        raise InputError("`must` has to be a list of lists of patterns.")
    return Probe(
        id=str(data["id"]),
        persona_id=str(data["persona"]),
        kind=data["kind"],
        persona=persona,
        dialogue=dialogue,
        must=tuple(_patterns({"must": patterns}, "must") for patterns in data["must"]),
        must_not=_patterns(data, "must_not"),
        right=_texts(data, "right"),
        wrong=_texts(data, "wrong"),
    )


def _patterns(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    patterns = _texts(data, field)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(f"`{field}` holds a pattern that is none ({error}): {pattern}") from None
    return patterns


def _texts(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    values = data[field]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f"`{field}` has to be a list of texts.")
    return tuple(values)

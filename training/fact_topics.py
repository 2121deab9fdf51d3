"""The topics that made-up personas speak of: facts, questions about them, and answers, read from `training/facts/`.

The files hold wordings, a line each. In a line `<a|b>` stands for either, `{job}` for the value of a field or for an
entry of the list of that name, `{a job}` for the same with its article, `{job2}` for another one. In a fact `[have]`
is the verb of `I`, so that the same line can speak of "I", "you" or "she".
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "facts"

YES_KINDS = frozenset({"yes", "invite+", "offer+", "help+"})
NO_KINDS = frozenset({"no", "opposite", "invite-", "offer-", "help-"})
INDIRECT_KINDS = frozenset({"invite+", "invite-", "offer+", "offer-", "help+", "help-"})
KINDS = frozenset({"open"}) | YES_KINDS | NO_KINDS

Lists = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Ask:
    """Questions that the same answers answer. `then_*` is a further question that follows at once, at times."""

    kind: str
    questions: tuple[str, ...]
    answers: tuple[str, ...]
    then_questions: tuple[str, ...] = ()
    then_answers: tuple[str, ...] = ()
    echo: bool = True


@dataclass(frozen=True)
class Topic:
    """One thing a persona may say of itself. `values` has a mapping of field to text for each case of it.

    Two topics of one persona share no group, and what one `rules_out` the other is not.
    """

    name: str
    groups: frozenset[str]
    tags: frozenset[str]
    rules_out: frozenset[str]
    values: tuple[Mapping[str, str], ...]
    facts: tuple[str, ...]
    asks: tuple[Ask, ...]
    weight: int = 1


# For lines that belong to no topic, such as a greeting.
NO_TOPIC = Topic("", frozenset(), frozenset(), frozenset(), ({},), (), ())


@dataclass(frozen=True)
class Unknown:
    """Questions about things of which no fact speaks; not asked of a persona with a topic of these groups."""

    groups: frozenset[str]
    questions: tuple[str, ...]
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Wordings:
    """All that the files hold. `talk` has small talk, reactions and the openings of answers."""

    topics: tuple[Topic, ...]
    unknown: tuple[Unknown, ...]
    lists: Lists
    talk: Lists


def read_wordings(folder: Path = FOLDER) -> Wordings:
    """Read every TOML file of the folder. Raises KeyError or ValueError for a file that is not in form."""
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.toml"))]
    lists = {name: lines(text) for file in files for name, text in file.get("lists", {}).items()}
    talk = {name: lines(text) for file in files for name, text in file.get("talk", {}).items()}
    topics = tuple(
        _topic(entry, lists, number)
        for file in files
        for entry in file.get("topic", [])
        for number in range(1, entry.get("copies", 1) + 1)
    )
    unknown = tuple(
        Unknown(_words(entry, "group"), lines(entry["q"]), lines(entry["a"]))
        for file in files
        for entry in file.get("unknown", [])
    )
    return Wordings(topics, unknown, lists, talk)


def lines(text: str) -> tuple[str, ...]:
    """Return the lines that are not empty, trimmed."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _topic(entry: Mapping[str, Any], lists: Lists, number: int) -> Topic:
    """Return the topic. One with `copies` may come more than once in a persona, each time with other values."""
    name = entry["name"] if number == 1 else f"{entry['name']} {number}"
    return Topic(
        name,
        frozenset({name}) if number > 1 else _words(entry, "group"),
        _words(entry, "is"),
        _words(entry, "not"),
        _values(entry, lists),
        lines(entry["facts"]),
        tuple(_ask(name, ask) for ask in entry["ask"]),
        entry.get("weight", 1),
    )


def _ask(topic: str, entry: Mapping[str, Any]) -> Ask:
    if entry["kind"] not in KINDS:
        raise ValueError(f"{topic}: there is no kind of question {entry['kind']!r}.")
    return Ask(
        entry["kind"],
        lines(entry["q"]),
        lines(entry["a"]),
        lines(entry.get("then_q", "")),
        lines(entry.get("then_a", "")),
        entry.get("echo", True),
    )


def _values(entry: Mapping[str, Any], lists: Lists) -> tuple[Mapping[str, str], ...]:
    fields = entry.get("fields", "").split()
    if not fields:
        return ({},)
    text = entry["values"].strip()
    rows = lists[text.removeprefix("@")] if text.startswith("@") else lines(text)
    values = []
    for row in rows:
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) != len(fields):
            raise ValueError(f"{entry['name']}: {row!r} has {len(cells)} cells for {len(fields)} fields.")
        values.append(dict(zip(fields, cells, strict=True)))
    return tuple(values)


def _words(entry: Mapping[str, Any], key: str) -> frozenset[str]:
    return frozenset(entry.get(key, "").split())

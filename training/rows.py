"""Data-set rows: reading them from files or the hub, and checking what they hold. It knows no model.

A row is a persona (`about`, `persona_b`), a `dialogue` that ends with Person A, and the `reference`: what Person B
says next. `conv_id` says which rows were cut from one conversation.
"""

import ast
import csv
import gzip
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_chat import template
from persona_chat.dialogue import Dialogue
from persona_chat.errors import InputError
from persona_chat.persona import Persona
from persona_chat.retraining.yardstick import held_out

FEWEST = 20
"""A run on fewer usable rows teaches nothing and is refused."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_LISTS = ("persona_b", "dialogue", "candidates", "contradicting")
# Slots that were never filled: "[user 1's name]", "{name}", "User 1", "participant_2".
_PLACEHOLDER = re.compile(
    r"\[[^\]\n]{1,40}\]|[{<](?:name|user|city|place)[^}>\n]{0,20}[}>]|\b(?:user|participant|speaker)[ _]?[12]\b",
    re.IGNORECASE,
)
# "(name)" is nothing to learn from either. Rows with it can be measured on: 55 of the 1,000 that all figures are about.
_NAME_IN_BRACKETS = re.compile(r"\((?:[\w']+ ){0,3}(?:user)?name\)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One row that can be used. `contradicting` and `pair_id` stand in persona-swap pairs only."""

    persona: Persona
    dialogue: Dialogue
    reference: str
    conv_id: str
    candidates: tuple[str, ...] = ()  # gold last, where the file has them
    contradicting: tuple[str, ...] = ()
    pair_id: str = ""

    @property
    def held_out(self) -> bool:
        """Whether this row's conversation is never trained on."""
        return held_out(self.conv_id)


@dataclass
class Report:
    """What was found in the data. `places` names the first row of each kind that was dropped."""

    read: int = 0
    kept: int = 0
    held_out: int = 0
    kept_of: dict[str, int] = field(default_factory=dict)  # by source
    dropped: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)  # of prompt and reference: fewest, median, most
    example: str = ""

    def drop(self, reason: str, place: str) -> None:
        """Count a row that cannot be used."""
        self.dropped[reason] += 1
        self.places.setdefault(reason, place)

    def as_json(self) -> dict[str, Any]:
        """The report as `data.json` holds it."""
        return {
            "read": self.read,
            "kept": self.kept,
            "held_out": self.held_out,
            "dropped": dict(self.dropped),
            "first_dropped": self.places,
            "tokens": self.tokens,
            "example": self.example,
        }


class _UnusableError(Exception):
    """A row that is dropped; the text is the reason that is counted."""


def load(sources: Sequence[str], limit: int | None = None, *, to_learn: bool = True) -> tuple[list[Row], Report]:
    """Read the rows of all sources and check them, `to_learn` from or to measure on; at most `limit` of each.

    Raises InputError that names file, row and field when a source is not such data at all.
    """
    report, rows = Report(), []
    seen: set[tuple[object, ...]] = set()
    for source in sources:
        kept = 0
        for place, record in read_records(source):
            if limit is not None and kept >= limit:
                break
            report.read += 1
            try:
                row = read_row(record)
                if to_learn and any(_NAME_IN_BRACKETS.search(text) for text in _texts(row)):
                    raise _UnusableError("unfilled placeholder")
                # A side of a persona-swap pair may be the same row as that of another pair.
                key = (row.persona, tuple(turn.text for turn in row.dialogue), row.reference, row.pair_id)
                if key in seen:
                    raise _UnusableError("duplicate")
            except _UnusableError as error:
                report.drop(str(error), place)
                continue
            seen.add(key)
            rows.append(row)
            kept += 1
        if not kept:
            raise _nothing(source, report)
        report.kept_of[source] = kept
    report.kept = len(rows)
    return rows, report


def read_rows(source: str, limit: int | None = None) -> list[Row]:
    """Read the rows of one source that can be measured on. Raises InputError as `load` does."""
    return load([source], limit, to_learn=False)[0]


def _texts(row: Row) -> tuple[str, ...]:
    return (row.persona.about, *row.persona.facts, *(turn.text for turn in row.dialogue), row.reference)


def read_records(source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every row of a file or hub data set as it stands, with its place ("file, row 3").

    Raises InputError for what cannot be read as rows, or whose first row lacks a field.
    """
    path = Path(source).expanduser()
    if path.is_file():
        records = _file_records(path)
    elif not path.exists() and _HUB_ID.fullmatch(source):
        records = _hub_records(source)
    else:
        raise InputError(f"{source}: there is no such file, and a hub data set is called owner/name.")
    for number, record in enumerate(records, 1):
        place = f"{path.name if path.is_file() else source}, row {number}"
        if number == 1:
            _check_fields(place, record)
        yield place, record


def read_row(record: Mapping[str, Any]) -> Row:
    """Read one row, or raise with the reason for which it is dropped."""
    fields = {name: record[name] for name in ("about", "persona_b", "dialogue") if record.get(name) is not None}
    reference = record.get("reference")
    if not isinstance(reference, str):
        raise _UnusableError("wrong types")
    try:
        persona, dialogue = template.read_example(fields)
    except InputError as error:
        raise _UnusableError(_reason(str(error))) from None
    reply = template.read_reply(f" {reference}")
    texts = (persona.about, *persona.facts, *(turn.text for turn in dialogue), reference)
    if not reply or not all(turn.text.strip() for turn in dialogue):
        raise _UnusableError("empty")
    if any(_PLACEHOLDER.search(text) for text in texts):
        raise _UnusableError("unfilled placeholder")
    given = record.get("conv_id")
    opening = json.dumps([persona.about, sorted(persona.facts), dialogue[0].text])
    return Row(
        persona=persona,
        dialogue=dialogue,
        reference=reply,
        # Rows cut from one conversation share persona and opening, whatever the file says of them.
        conv_id=str(given) if given else hashlib.sha256(opening.encode()).hexdigest()[:16],
        candidates=tuple(record.get("candidates") or ()),
        contradicting=tuple(record.get("contradicting") or ()),
        pair_id=str(record.get("pair_id", "")),
    )


def as_record(row: Row) -> dict[str, Any]:
    """The row in the data set's form."""
    record: dict[str, Any] = {"about": row.persona.about} if row.persona.about else {}
    return record | {
        "persona_b": list(row.persona.facts),
        "dialogue": [f"{turn.speaker}: {turn.text}" for turn in row.dialogue],
        "reference": row.reference,
        "conv_id": row.conv_id,
    }


def _reason(fault: str) -> str:
    if "must be" in fault:
        return "wrong types"
    if "must end" in fault:
        return "not ending on Person A"
    return "no speaker" if "must start" in fault else "empty"


def _nothing(source: str, report: Report) -> InputError:
    places = [place for place in report.places.values() if place.startswith(Path(source).name)]
    first = f" The first: {places[0]} ({_reasons(report)})." if places else ""
    return InputError(f"{source}: none of its rows can be used.{first}")


def _reasons(report: Report) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in report.dropped.most_common())


def _check_fields(place: str, record: object) -> None:
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected an object with `persona_b`, `dialogue` and `reference`.")
    for name in ("dialogue", "reference"):
        if name not in record:
            raise InputError(f"{place}: the field `{name}` is missing. {_FORM}")
    if "persona_b" not in record and "about" not in record:
        raise InputError(f"{place}: the field `persona_b` is missing. {_FORM}")
    for name, kind, called in (("persona_b", list, "a list of texts"), ("dialogue", list, "a list of texts")):
        if name in record and not isinstance(record[name], kind):
            raise InputError(f"{place}: the field `{name}` must be {called}. {_FORM}")
    if not isinstance(record["reference"], str):
        raise InputError(f"{place}: the field `reference` must be text. {_FORM}")


_FORM = "A row has `persona_b`, `dialogue` and `reference`; examples/dialogues.jsonl shows the form."


def _file_records(path: Path) -> Iterator[Any]:
    name = path.name.lower()
    try:
        if name.endswith(".parquet"):
            yield from _parquet_records(path)
        elif name.endswith(".csv"):
            yield from _csv_records(path)
        elif name.endswith((".jsonl", ".jsonl.gz", ".json.gz", ".ndjson")):
            yield from _json_records(path)
        else:
            raise InputError(f"{path.name}: only .jsonl, .jsonl.gz, .parquet and .csv files are read.")
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: is not UTF-8 text.") from None
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path.name}: cannot be read ({getattr(error, 'strerror', None) or error}).") from None


def _json_records(path: Path) -> Iterator[Any]:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as error:
                what = error.msg if isinstance(error, json.JSONDecodeError) else "not readable"
                raise InputError(f"{path.name}, line {number}: is not JSON ({what}).") from None


def _csv_records(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for record in csv.DictReader(stream):
            yield {name: _cell(name, value) for name, value in record.items() if name is not None}


def _cell(name: str, value: str | None) -> Any:
    """A CSV cell; lists are written as JSON or as Python shows them."""
    if name not in _LISTS or not value:
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def _parquet_records(path: Path) -> Iterator[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        for batch in ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise InputError(f"{path.name}: is no Parquet file that can be read ({str(error)[:80]}).") from None


def _hub_records(name: str) -> Iterator[dict[str, Any]]:
    from datasets import load_dataset

    try:
        rows = load_dataset(name, split="train")
    except Exception as error:  # offline, gated, not found, not a data set: almost any kind
        raise InputError(
            f"The data set {name} could not be had from the hub ({type(error).__name__}). Check its name and the "
            "network, or give a file."
        ) from None
    yield from rows

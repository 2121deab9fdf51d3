"""Rows from files: every form is read alike, what cannot be used is counted, what is no data is refused by place."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from persona_chat.errors import InputError
from training.rows import as_record, load, read_rows

GOOD: dict[str, Any] = {
    "persona_b": ["I have two dogs.", "I live in Turin."],
    "dialogue": ["Persona A: Hello!", "Persona B: Hi there.", "Persona A: Any pets?"],
    "reference": "Two dogs.",
    "conv_id": "c1",
}


def numbered(count: int) -> list[dict[str, Any]]:
    return [GOOD | {"reference": f"I have {number} dogs.", "conv_id": f"c{number}"} for number in range(count)]


def write(path: Path, records: list[Any]) -> Path:
    name = path.name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    elif name.endswith(".csv"):
        with path.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(GOOD))
            table.writeheader()
            # One list as JSON, one as Python shows it: both are met.
            table.writerows(r | {"persona_b": json.dumps(r["persona_b"]), "dialogue": r["dialogue"]} for r in records)
    elif name.endswith(".parquet"):
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.csv", "rows.parquet"])
def test_a_row_is_the_same_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = read_rows(str(write(tmp_path / name, numbered(3))))
    assert [as_record(row) for row in rows] == numbered(3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reference": "Nice to meet you, [user 1's name]!"}, "unfilled placeholder"),
        ({"dialogue": ["Persona A: I am User 1."]}, "unfilled placeholder"),
        ({"reference": "Hi! My name is (name)."}, "unfilled placeholder"),
        ({"reference": "This is (My child's name)."}, "unfilled placeholder"),
        ({"dialogue": ["Persona A: Hi.", "Persona B: Hello."]}, "not ending on Person A"),
        ({"dialogue": ["Hi there."]}, "no speaker"),
        ({"dialogue": ["Persona A:  "]}, "empty"),
        ({"dialogue": []}, "not ending on Person A"),
        ({"reference": "  "}, "empty"),
        ({"persona_b": []}, "empty"),
        ({"persona_b": [1, 2]}, "wrong types"),
        ({"dialogue": "Persona A: Hi."}, "wrong types"),
        ({"reference": None}, "wrong types"),
        ({}, "duplicate"),
    ],
)
def test_a_row_that_cannot_be_used_is_dropped_with_its_reason(tmp_path: Path, change: Any, reason: str) -> None:
    file = write(tmp_path / "rows.jsonl", [GOOD, GOOD | change, *numbered(2)])
    rows, report = load([str(file)])
    assert dict(report.dropped) == {reason: 1}
    assert report.places == {reason: "rows.jsonl, row 2"}
    assert (report.read, report.kept) == (4, 3)
    assert [row.reference for row in rows] == ["Two dogs.", "I have 0 dogs.", "I have 1 dogs."]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"persona_b": [], "reference": "x"}\n', "row 1: the field `dialogue` is missing"),
        ('{"dialogue": [], "reference": "x"}\n', "row 1: the field `persona_b` is missing"),
        ('{"persona_b": ["x"], "dialogue": []}\n', "row 1: the field `reference` is missing"),
        ('{"persona_b": "x", "dialogue": [], "reference": "x"}\n', "`persona_b` must be a list"),
        ("[1, 2]\n", "row 1: expected an object"),
        (json.dumps(GOOD) + "\n{oops\n", "line 2: is not JSON"),
        ("", "none of its rows"),
        (json.dumps(GOOD | {"reference": ""}) + "\n", "none of its rows can be used. The first: rows.jsonl, row 1"),
    ],
)
def test_a_file_that_is_no_such_data_is_refused_by_file_row_and_field(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=r"rows\.jsonl") as refused:
        load([str(file)])
    assert said in str(refused.value)


@pytest.mark.parametrize("name", ["no.jsonl", "rows.txt", "a/b/c"])
def test_what_is_not_there_or_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(InputError):
        load([str(tmp_path / name)])


def test_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    for name in ("rows.jsonl.gz", "rows.parquet"):
        (tmp_path / name).write_bytes(b"not what it is called" * 9)
        with pytest.raises(InputError, match=name):
            load([str(tmp_path / name)])
    (tmp_path / "rows.jsonl").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(InputError, match="UTF-8"):
        load([str(tmp_path / "rows.jsonl")])


def test_the_limit_counts_usable_rows_of_each_source(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", [GOOD | {"reference": ""}, *numbered(5)][::-1])
    other = write(tmp_path / "other.jsonl", [GOOD | {"conv_id": f"d{i}", "reference": f"No {i}."} for i in range(5)])
    rows, report = load([str(one), str(other)], 3)
    assert (len(rows), report.kept) == (6, 6)


def test_a_conversation_is_held_out_as_a_whole_and_the_same_in_every_run(tmp_path: Path) -> None:
    rows = read_rows(str(write(tmp_path / "rows.jsonl", numbered(800))))
    share = sum(row.held_out for row in rows) / len(rows)
    assert 0.03 < share < 0.1
    again = [GOOD | {"reference": f"Another {number}.", "conv_id": f"c{number}"} for number in range(800)]
    assert [row.held_out for row in rows] == [
        row.held_out for row in read_rows(str(write(tmp_path / "again.jsonl", again)))
    ]


def test_rows_without_conv_id_belong_together_by_persona_and_opening(tmp_path: Path) -> None:
    plain = {key: value for key, value in GOOD.items() if key != "conv_id"}
    longer = plain | {
        "persona_b": plain["persona_b"][::-1],
        "dialogue": [*plain["dialogue"], "Persona B: Yes.", "Persona A: Which?"],
    }
    other = plain | {"dialogue": ["Persona A: Good day!"]}
    rows = read_rows(str(write(tmp_path / "rows.jsonl", [plain, longer, other])))
    assert rows[0].conv_id == rows[1].conv_id != rows[2].conv_id

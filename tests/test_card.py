"""What a card says of where data comes from: what the file beside it says, and otherwise nothing."""

from pathlib import Path

import pytest

from persona_chat.errors import InputError
from persona_chat.example import example_file
from training.card import describe_source, sha256_of, source_file
from training.fact_dialogues import main as make_facts


@pytest.mark.parametrize("name", ["facts.jsonl", "dialogues.jsonl", "spc_train.jsonl.gz", "Cynaptics_persona-chat.csv"])
def test_a_name_alone_says_nothing_of_origin_or_licence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    said = describe_source(str(tmp_path / name), 7)
    assert (said.source, said.rows, said.sha256) == (name, 7, sha256_of(tmp_path / name))
    assert (said.provenance, said.licence) == ("given by the operator", "not stated")


def test_a_file_beside_the_data_says_it(tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text("x")
    source_file(data).write_text('{"provenance": "my own plays", "licence": "CC0"}')
    assert describe_source(str(data), 1).provenance == "my own plays"
    assert describe_source(str(data), 1).licence == "CC0"


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_file_beside_it_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text("x")
    source_file(data).write_text(content)
    with pytest.raises(InputError, match=r"mine\.jsonl\.source\.json"):
        describe_source(str(data), 1)


def test_our_own_data_says_where_it_comes_from(tmp_path: Path) -> None:
    assert describe_source(str(example_file("dialogues.jsonl")), 1).provenance == "written for this project"
    made = tmp_path / "any.jsonl.gz"
    make_facts(["--count", "2", "--seed", "5", "--out", str(made)])
    assert "made by rule" in describe_source(str(made), 2).provenance
    assert "Jandaghi" in describe_source("Cynaptics/persona-chat", 2).provenance

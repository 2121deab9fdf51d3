"""`evaluate` on the command line: what it takes, what it prints, and how it refuses."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from persona_chat.errors import InputError
from tests.adapter_folders import FIRST, change_weights, first_is, make_adapter
from tests.swap_pairs import pair, record
from training import report
from training.evaluate_command import read_wanted
from training.evaluation import Scores
from training.measures import Measured
from training.metrics import GROUPS, NAMES, read_metrics
from training.probes import PROBES, read_probes

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twelve persona-swap pairs: enough conversations for 19 distractors."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [row for number in range(12) for row in pair(number, 20 + number, 50 + number)]
    file.write_text("".join(json.dumps(record(row)) + "\n" for row in rows), encoding="utf-8")
    return file


def test_what_is_measured_follows_from_what_is_given() -> None:
    rows = read_metrics("perplexity,hits,replies,swap")
    assert read_wanted(None, data="rows.jsonl", probes=None) == rows
    assert read_wanted(None, data="rows.jsonl", probes=PROBES) == set(NAMES)
    assert read_wanted("f1", data="rows.jsonl", probes=None) == {"f1"}
    assert read_wanted("f1,fact_accuracy", data="rows.jsonl", probes=PROBES) == {"f1", "fact_accuracy"}
    assert read_wanted("facts", data=None, probes=None) == set(GROUPS["facts"])
    for metrics in (None, "f1"):
        with pytest.raises(InputError, match="--data FILE"):
            read_wanted(metrics, data=None, probes=None)


def test_the_table_has_a_line_a_metric_and_a_column_an_adapter() -> None:
    metrics = {"perplexity": Measured(3.5, 3.4, 3.6), "hits_at_1": Measured(0.25, 0.2, 0.3)}
    columns = [report.Column(name, "embedded", Scores(200, 140, metrics)) for name in ("mine", "none")]
    columns[1].scores.metrics.pop("hits_at_1", None)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(report.as_table(columns))
    text = shown.get()
    assert "Base embedded, 200 rows and 140 probes" in text
    assert text.count("3.50 [3.40 to 3.60]") == 2


def evaluate(*arguments: object, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "training", "evaluate", *map(str, arguments)],
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_json_is_one_object_with_every_metric_of_both_adapters(
    tmp_path: Path, data: Path, embedded_data_dir: Path
) -> None:
    folder = make_adapter(tmp_path / "random", made_for=None)
    few = tmp_path / "probes.jsonl"
    few.write_text("".join(f"{line}\n" for line in PROBES.read_text(encoding="utf-8").splitlines()[:2]))
    done = evaluate(
        *("--adapter", folder, "--against", "none", "--data", data, "--rows", 2, "--probes", few, "--json"),
        *("--metrics", "perplexity,hits,replies,swap,facts", "--progress", "json"),
        *("--base", "embedded", "--data-dir", embedded_data_dir),
        PERSONA_CHAT_MAX_NEW_TOKENS="8",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    told = json.loads(done.stdout)
    assert set(told) == {"adapter", "base", "rows", "metrics", "against"}
    assert (told["adapter"], told["against"][0]["adapter"]) == (str(folder), "none")
    assert set(told["against"][0]) == {"adapter", "base", "rows", "metrics"}
    kinds = {f"fact_accuracy_{probe.kind}" for probe in read_probes(few)}
    expected = [name for name in NAMES if name in kinds or not name.startswith("fact_accuracy_")]
    for column in (told, told["against"][0]):
        assert (column["base"], column["rows"]) == ("embedded", 2)
        assert list(column["metrics"]) == expected
        for name, measured in column["metrics"].items():
            assert set(measured) == {"value", "low", "high"}
            assert measured["low"] <= measured["value"] <= measured["high"], name
            assert all(math.isfinite(number) for number in measured.values())
    assert told["metrics"] != told["against"][0]["metrics"]
    assert told["metrics"]["f1_floor"] == told["against"][0]["metrics"]["f1_floor"]
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(set(line) == {"event", "what", "done", "of"} and line["event"] == "measuring" for line in lines)
    assert {line["what"] for line in lines if line["done"] == line["of"]} == set(GROUPS)


def test_what_cannot_be_measured_ends_in_one_line(tmp_path: Path, data: Path) -> None:
    refused = make_adapter(tmp_path / "nan", made_for=None)
    change_weights(refused, first_is(math.nan))
    unpaired = tmp_path / "unpaired.jsonl"
    unpaired.write_text((ROOT / "examples/dialogues.jsonl").read_text(encoding="utf-8").splitlines()[0])
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"persona_b": ["I am [name]."], "dialogue": ["Persona A: Hi"], "reference": "Hi"}\n')
    cases: list[tuple[list[object], int, str]] = [
        (["--adapter", "none", "--data", tmp_path / "nowhere.jsonl"], 2, "there is no such file"),
        (["--adapter", "none", "--data", empty], 2, "none of its rows can be used"),
        (["--adapter", "none", "--data", unpaired, "--metrics", "swap"], 2, "has no persona-swap pairs"),
        (["--adapter", "none", "--data", data, "--metrics", "bleu"], 2, "There is no metric bleu. Groups: perplexity"),
        (["--adapter", "none", "--probes", tmp_path / "nowhere.jsonl"], 2, "there is no such file"),
        (["--adapter", refused, "--data", data], 9, f"{FIRST} holds numbers that are not finite"),
        (["--adapter", "none", "--against", "nobody", "--data", data], 9, "There is no adapter nobody"),
    ]
    for arguments, code, says in cases:
        done = evaluate(*arguments, "--data-dir", tmp_path)
        assert (done.returncode, done.stdout) == (code, b""), says
        assert says in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1


def test_it_ends_when_whoever_started_it_is_gone(data: Path, embedded_data_dir: Path) -> None:
    done = evaluate("--adapter", "none", "--data", data, "--data-dir", embedded_data_dir, "--tied", stdin=b"")
    assert (done.returncode, done.stdout) == (143, b"")

"""The trainer through its command line, on the embedded model: whole runs, killed ones, refused ones."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from persona_chat.adapters import CARD, CONFIG, WEIGHTS, read_adapter
from tests.training_fixtures import OWN

pytestmark = [pytest.mark.model, pytest.mark.timeout(900)]

SMALL = ["--data", str(OWN), "--rows", "40", "--steps", "4", "--set", "rows_per_step=2", "--set", "max_tokens=220"]


def command(out: Path, data_dir: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "training", "train", "--out", str(out), "--data-dir", str(data_dir), *options]


def run(out: Path, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(out, data_dir, "--progress", "json", *options),
        capture_output=True,
        text=True,
        env=quietly(),
        cwd=Path(__file__).parents[1],
        check=False,
    )


@contextmanager
def watched(
    out: Path, data_dir: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]]:
    """A run under way, and what it tells."""
    with subprocess.Popen(
        command(out, data_dir, "--progress", "json", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=quietly(),
        cwd=Path(__file__).parents[1],
    ) as running:
        assert running.stdout is not None
        yield running, map(json.loads, running.stdout)


def quietly() -> dict[str, str]:
    return os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / WEIGHTS))


@pytest.fixture(scope="module")
def whole(embedded_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """An uninterrupted run of four steps."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = run(out, embedded_data_dir, *SMALL)
    assert done.returncode == 0, done.stderr
    return out, events(done.stdout)


def test_a_run_ends_with_an_adapter_and_its_card(whole: tuple[Path, list[Any]]) -> None:
    out, told = whole
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [CARD, CONFIG, WEIGHTS, "data.json", "held_out.jsonl", "loss.png", "progress.jsonl", "run.json"]
    )
    card = json.loads((out / CARD).read_text())
    adapter = read_adapter(out)
    assert (card["base"], card["template"], card["steps"]) == ("embedded", "persona-ab-1", 4)
    assert card["weights_sha256"] == adapter.weights_sha256
    assert card["recipe"]["name"] == "small"
    assert card["data"][0]["rows"] == 40
    assert card["data"][0]["licence"] == "Apache-2.0"
    assert card["backend"].startswith("trl+peft ")
    assert {"torch", "trl", "peft"} <= set(card["versions"])
    assert [event["step"] for event in told if event["event"] == "step"] == [1, 2, 3, 4]
    assert told[-1]["event"] == "done"
    assert "/" not in json.loads((out / CONFIG).read_text())["base_model_name_or_path"]
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_every_lora_tensor_was_moved(whole: tuple[Path, list[Any]]) -> None:
    # B begins at zero: where it is not, it had a gradient, and so had A from the second step on.
    for name, tensor in weights(whole[0]).items():
        assert tensor.abs().max() > 0, name


def test_what_is_held_out_is_not_trained_on(whole: tuple[Path, list[Any]]) -> None:
    rows = [json.loads(line) for line in OWN.read_text().splitlines()][:40]
    away = {row["conv_id"] for row in rows if sha256(row["conv_id"].encode()).digest()[0] % 16 == 0}
    assert away
    kept = [json.loads(line) for line in (whole[0] / "held_out.jsonl").read_text().splitlines()]
    assert {row["conv_id"] for row in kept} == away
    # Of each other conversation the longest cut is learned from.
    start = next(event for event in whole[1] if event["event"] == "start")
    assert start["rows"] == len({row["conv_id"] for row in rows} - away)


def test_a_run_killed_in_the_middle_goes_on_to_the_same_weights(
    whole: tuple[Path, list[Any]], embedded_data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    # The held-out rows are measured after each checkpoint: training goes on after an evaluation.
    with watched(out, embedded_data_dir, *SMALL, "--set", "checkpoint_steps=1") as (running, told):
        assert any(event["event"] == "held_out" and event["step"] == 2 for event in told)
        running.kill()
    assert not (out / CARD).exists()
    done = run(out, embedded_data_dir, "--resume")
    assert done.returncode == 0, done.stderr
    assert [event["step"] for event in events(done.stdout) if event["event"] == "step"][-2:] == [3, 4]
    expected, found = weights(whole[0]), weights(out)
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)
    again = run(out, embedded_data_dir, "--resume")
    assert again.returncode == 0, again.stderr


def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(embedded_data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped"
    told = []
    with watched(out, embedded_data_dir, *SMALL) as (running, telling):
        for event in telling:
            told.append(event)
            if event["event"] == "start":
                running.send_signal(signal.SIGTERM)
    assert running.returncode == 143
    assert told[-1]["event"] == "stopped"
    assert f"--resume --out {out}" in told[-1]["text"]
    assert list((out / "checkpoints").glob("checkpoint-*/trainer_state.json"))


def test_a_run_is_alone_in_its_folder_and_a_tied_one_ends_at_once_with_its_parent(
    embedded_data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tied"
    with watched(out, embedded_data_dir, *SMALL, "--tied") as (running, told):
        assert any(event["event"] == "start" for event in told)
        for options in (("--resume",), SMALL):
            assert "Another training" in refused(out, embedded_data_dir, 2, *options)
        # What the second was told does not stand in the log of the first.
        assert "failed" not in [event["event"] for event in events((out / "progress.jsonl").read_text())]
        assert running.stdin is not None
        running.stdin.close()
        assert running.wait(timeout=30) == 143


def test_a_run_whose_data_has_changed_does_not_go_on(
    whole: tuple[Path, list[Any]], embedded_data_dir: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "mine.jsonl", tmp_path / "run"
    shutil.copy(OWN, data)
    out.mkdir()
    plan = json.loads((whole[0] / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(plan | {"data": [str(data)]}))
    data.write_text(data.read_text().replace("cello", "viola"))
    assert "not the file this run began with" in refused(out, embedded_data_dir, 2, "--resume")


def test_in_four_bits_an_adapter_goes_on_learning_after_an_evaluation(
    whole: tuple[Path, list[Any]], embedded_data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "nf4"
    options = ("--steps", "2", "--set", "checkpoint_steps=1", "--set", "weight_decay=0", "--set", "warmup_steps=1")
    begin = ("--precision", "nf4", "--init", str(whole[0]))
    done = run(out, embedded_data_dir, "--data", str(OWN), "--rows", "40", "--set", "rows_per_step=1", *options, *begin)
    assert done.returncode == 0, done.stderr
    told = events(done.stdout)
    assert [event["event"] for event in told if event["event"] in ("step", "held_out")][:3] == [
        "step",
        "held_out",
        "step",
    ]
    before, after = weights(whole[0]), weights(out)
    assert all(not before[name].equal(after[name]) for name in before)
    card = json.loads((out / CARD).read_text())
    assert (card["init"], card["backend"]) == ("whole", "trl+peft nf4 cpu")


def refused(out: Path, data_dir: Path, code: int, *options: str) -> str:
    done = run(out, data_dir, *options)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_too_few_rows_are_refused(embedded_data_dir: Path, tmp_path: Path) -> None:
    said = refused(tmp_path / "few", embedded_data_dir, 2, "--data", str(OWN), "--rows", "19")
    assert "too few" in said


def test_a_folder_that_is_in_use_and_a_run_that_is_not_there_are_refused(
    embedded_data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "not empty" in refused(tmp_path / "mine", embedded_data_dir, 2, *SMALL)
    assert "no run" in refused(tmp_path / "mine", embedded_data_dir, 2, "--resume")
    assert "--data" in refused(tmp_path / "none", embedded_data_dir, 2)
    assert not (tmp_path / "none").exists()


def test_a_loss_that_is_no_number_ends_the_run_with_the_reason(embedded_data_dir: Path, tmp_path: Path) -> None:
    wild = ("--set", "learning_rate=1e20", "--set", "warmup_steps=0", "--set", "clip=1e38")
    out = tmp_path / "wild"
    assert "not a number" in refused(out, embedded_data_dir, 12, *SMALL, *wild)
    assert events((out / "progress.jsonl").read_text())[-1]["event"] == "failed"
    assert not (out / CARD).exists()


def test_a_full_disk_ends_the_run_with_the_reason_and_it_goes_on_later(
    whole: tuple[Path, list[Any]], embedded_data_dir: Path, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "full"
    out.mkdir()
    shutil.copy(whole[0] / "run.json", out)
    (out / "loss.png").symlink_to("/dev/full")
    assert "disk is full" in refused(out, embedded_data_dir, 12, "--resume")
    (out / "loss.png").unlink()
    done = run(out, embedded_data_dir, "--resume")
    assert done.returncode == 0, done.stderr
    assert all(weights(out)[name].equal(tensor) for name, tensor in weights(whole[0]).items())

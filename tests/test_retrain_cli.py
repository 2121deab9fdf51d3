"""`persona-chat retrain` as a person types it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persona_chat.settings import Settings
from persona_chat.store.jobs import State
from tests.training_fixtures import Workshop, rows, write_rows

pytestmark = pytest.mark.timeout(900)

PROGRAM = Path(sys.prefix) / "bin/persona-chat"


def begin(settings: Settings, *options: str, said: str = "") -> subprocess.Popen[str]:
    """Start the command; it is told `said` on its standard input."""
    process = subprocess.Popen(
        [PROGRAM, *options, "--data-dir", settings.data_dir, "--base", settings.base],
        env={**os.environ, "PERSONA_CHAT_RETRAIN_EVAL_ROWS": "12"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(said)
    process.stdin.flush()
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def test_it_says_the_plan_trains_compares_and_swaps(workshop: Workshop, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "mine.jsonl", rows())
    code, out, err = end(begin(workshop.settings, "retrain", "--data", str(file), "--steps", "2", "--yes"))
    assert (code, err) == (0, "")
    assert "Learns from: mine.jsonl (36 rows)." in out
    assert "2 steps of 8 rows, beginning afresh" in out
    assert re.search(r"✅ perplexity: [\d.]+ in service, [\d.]+ new \(at most [\d.]+\)", out)
    assert "✅ perplexity on our dialogues: " in out
    assert out.endswith("In service now: retrain-1.\n")
    assert workshop.registry.in_service() == "retrain-1"
    assert workshop.store.jobs.newest(1)[0].order.requested_by is None

    _, listed, _ = end(begin(workshop.settings, "adapters", "list", "--json"))
    assert [(entry["name"], entry["in_service"]) for entry in json.loads(listed)][-1] == ("retrain-1", True)


def test_ctrl_c_cancels(workshop: Workshop) -> None:
    process = begin(workshop.settings, "retrain", "--steps", "300", "--yes")
    while process.poll() is None and ((job := workshop.store.jobs.under_way()) is None or job.child is None):
        time.sleep(0.1)
    assert job is not None
    process.send_signal(signal.SIGINT)
    code, out, err = end(process)
    assert (code, err) == (130, "Cancelling…\n")
    assert "Cancelled." in out
    ended = workshop.store.jobs.find(job.number)
    assert ended is not None
    assert ended.state is State.CANCELLED
    assert job.child is not None
    assert not job.child.alive
    assert workshop.registry.in_service() is None


def test_who_does_not_say_yes_begins_nothing(workshop: Workshop) -> None:
    code, out, _ = end(begin(workshop.settings, "retrain", said="n\n"))
    assert code == 1
    assert "It takes about" in out
    assert workshop.store.jobs.newest(1) == ()


def test_what_cannot_be_learned_from_is_said_at_once(workshop: Workshop, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "few.jsonl", rows(3, 0))
    code, out, err = end(begin(workshop.settings, "retrain", "--data", str(file), "--yes"))
    assert (code, out) == (2, "")
    assert err == "persona-chat: 3 rows are too few to learn from; at least 20 are needed.\n"


def test_a_training_that_fails_ends_with_its_reason(workshop: Workshop, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "other.jsonl", [{"question": "?", "answer": "!"}] * 30)
    code, _, err = end(begin(workshop.settings, "retrain", "--data", str(file), "--yes"))
    assert code == 12
    assert "Failed. other.jsonl, row 1: the field `dialogue` is missing." in err

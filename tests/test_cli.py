"""The command line, as a person types it: what it prints, and what it ends with."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DAVID = ROOT / "examples/david.json"
TURN = ["Persona A: Hi"]


def persona_chat(*arguments: object, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [Path(sys.prefix) / "bin/persona-chat", *map(str, arguments)],
        input=stdin,
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_help_names_every_command_and_comes_at_once() -> None:
    def took() -> float:
        started = time.perf_counter()
        done = persona_chat("--help")
        assert done.returncode == 0
        for command in (b"prompt", b"reply", b"doctor", b"run", b"demo", b"db"):
            assert command in done.stdout
        return time.perf_counter() - started

    # The best of a few: a test must not fail because another process was busy.
    assert min(took() for _ in range(5)) < 0.7


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", b"is not JSON (line 1"),
        (b"{'about'}", b"is not JSON (line 1"),
        (b"\xff\xfe{}", b"is not UTF-8 text"),
        (b"[" * 100_000, b"is nested too deeply"),
        (b'{"about": ' + b"7" * 5000 + b"}", b"holds a number that is too long"),
        (b"[]", b"Expected a JSON object with `about`, `dialogue`, `name`, `persona_b`, found a list"),
        (json.dumps({"about": "x", "persona": []}).encode(), b"Unknown field `persona`"),
        (json.dumps({"about": "x"}).encode(), b"`dialogue` is missing"),
        (json.dumps({"about": "x", "dialogue": [*TURN, "Persona B: Ho"]}).encode(), b"must end with a line of Persona"),
        (json.dumps({"about": "", "dialogue": TURN}).encode(), b"The persona is empty"),
    ],
)
def test_a_file_that_cannot_be_used_ends_in_one_line_and_2(tmp_path: Path, content: bytes, says: bytes) -> None:
    file = tmp_path / "example.json"
    file.write_bytes(content)
    for done in (persona_chat("prompt", file), persona_chat("reply", "-", stdin=content)):
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count(b"\n") == 1
        assert done.stdout == b""


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    done = persona_chat("prompt", tmp_path / "nowhere.json")
    assert (done.returncode, b"nowhere.json: there is no such file" in done.stderr) == (2, True)
    done = persona_chat("prompt", tmp_path)
    assert (done.returncode, b"Is a directory" in done.stderr) == (2, True)


@pytest.mark.model
def test_a_persona_over_budget_is_refused_with_the_count_from_a_file_too(embedded_data_dir: Path) -> None:
    facts = [f"I know the number {number}." for number in range(10_000)]
    example = json.dumps({"persona_b": facts, "dialogue": TURN}).encode()
    done = persona_chat("prompt", "-", "--data-dir", embedded_data_dir, stdin=example)
    assert done.returncode == 2
    assert b"This persona takes" in done.stderr
    assert b"640 fit" in done.stderr
    assert done.stdout == b""


def test_output_that_cannot_be_written_is_said() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [Path(sys.prefix) / "bin/persona-chat", "--version"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 74
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = persona_chat("demo", "--no-browser", "--data-dir", tmp_path, "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert b"Address already in use" in done.stderr
    assert not (tmp_path / "models").exists()


def test_a_base_that_is_no_model_is_said(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"")
    for command in ("prompt", "reply"):
        done = persona_chat(command, DAVID, "--base", tmp_path)
        assert done.returncode == 8
        assert done.stderr.count(b"\n") == 1
        assert str(tmp_path).encode() in done.stderr


@pytest.mark.parametrize("command", ["prompt", "demo"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_conversion_ends_it_soon_and_leaves_nothing_half(
    tmp_path: Path, command: str, how: signal.Signals
) -> None:
    arguments = [DAVID] if command == "prompt" else ["--no-browser"]
    process = subprocess.Popen(
        [Path(sys.prefix) / "bin/persona-chat", command, *arguments, "--data-dir", tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not list(tmp_path.glob("models/.converting-*")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(how)
    out, errors = process.communicate(timeout=20)
    assert process.returncode in ({130} if how is signal.SIGINT else {0, -signal.SIGTERM})
    assert (out, b"Traceback" in errors) == (b"", False)
    assert not list(tmp_path.glob("models/smollm2-*"))


def test_a_wrong_setting_and_an_unknown_option_end_in_2() -> None:
    done = persona_chat("prompt", DAVID, PERSONA_CHAT_TOP_P="7")
    assert done.returncode == 2
    assert b"PERSONA_CHAT_TOP_P: Input should be less than or equal to 1" in done.stderr
    assert persona_chat("reply", DAVID, "--no-such-option").returncode == 2
    assert persona_chat("reply", DAVID, "--seed", 10**23).returncode == 2


def test_without_a_token_run_says_where_to_get_one_and_ends_in_3(tmp_path: Path) -> None:
    done = persona_chat("run", "--data-dir", tmp_path / "data")
    assert done.returncode == 3
    assert b"DISCORD_TOKEN" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_database_is_made_and_checked_by_command(tmp_path: Path) -> None:
    at = ("--data-dir", tmp_path / "data")
    assert persona_chat("db", "check", *at).returncode == 1
    done = persona_chat("db", "upgrade", *at)
    assert (done.returncode, b"went from empty to 00" in done.stdout) == (0, True)
    again = persona_chat("db", "upgrade", *at)
    assert (again.returncode, b"up to date" in again.stdout) == (0, True)
    assert persona_chat("db", "check", *at).returncode == 0


@pytest.mark.model
def test_prompt_prints_exactly_the_text_the_model_gets(embedded_data_dir: Path) -> None:
    done = persona_chat("prompt", DAVID, "--data-dir", embedded_data_dir)
    assert done.stderr == b""
    assert done.stdout == (ROOT / "tests/david_prompt.txt").read_bytes() + b"Persona B:"


@pytest.mark.model
def test_a_long_dialogue_is_cut_to_the_window_in_the_prompt_too(embedded_data_dir: Path) -> None:
    lines = [f"Persona {'AB'[number % 2]}: turn number {number}" for number in range(201)]
    example = json.dumps({"about": "I am Ann.", "dialogue": lines}).encode()
    done = persona_chat("prompt", "-", "--data-dir", embedded_data_dir, stdin=example)
    assert b"turn number 200" in done.stdout
    assert b"turn number 0" not in done.stdout
    assert done.stdout.endswith(b"\nPersona B:")


@pytest.mark.model
def test_reply_prints_one_line_the_same_twice_when_greedy(embedded_data_dir: Path) -> None:
    def reply(*options: object) -> bytes:
        done = persona_chat("reply", DAVID, "--data-dir", embedded_data_dir, "--max-new-tokens", 24, *options)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    first = reply("--greedy")
    assert first == reply("--greedy")
    assert first.count(b"\n") == 1
    assert first.strip()
    assert not first.startswith((b"Persona", b" "))

    told = json.loads(reply("--seed", 7, "--json"))
    assert told["base"] == "embedded"
    assert 300 < told["prompt_tokens"] < 450
    assert 0 < told["reply_tokens"] <= 24
    assert 0 < told["first_token_s"] <= told["total_s"]
    assert json.loads(reply("--seed", 7, "--json"))["text"] == told["text"]


@pytest.mark.model
def test_doctor_names_what_is_there_and_ends_in_1_without_a_token(embedded_data_dir: Path) -> None:
    done = persona_chat("doctor", "--data-dir", embedded_data_dir)
    shown = done.stdout.decode()
    assert done.returncode == 1
    for row in ("Python", "torch", "CUDA", "Precision", "Base", "Adapter", "Database", "SQLite", "Token", "Intents"):
        assert f"\n{row} " in f"\n{shown}"
    assert "absent" in shown

    done = persona_chat("doctor", "--data-dir", "/proc/nowhere", DISCORD_TOKEN="canary-token")
    assert (done.returncode, b"/proc/nowhere cannot be written" in done.stdout) == (1, True)

    done = persona_chat("doctor", "--data-dir", embedded_data_dir, DISCORD_TOKEN="canary-token")
    assert done.returncode == 0
    assert b"canary-token" not in done.stdout + done.stderr


@pytest.mark.model
def test_an_adapter_that_is_none_is_refused_before_anything_is_loaded(tmp_path: Path, embedded_data_dir: Path) -> None:
    done = persona_chat("reply", DAVID, "--data-dir", embedded_data_dir, "--adapter", tmp_path / "nowhere")
    assert done.returncode == 9
    assert b"nowhere" in done.stderr
    assert done.stderr.count(b"\n") == 1

"""`persona-chat adapters`, as a person types it: what it shows, what it refuses, and the exit codes."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_chat.adapters import CARD, CONFIG, WEIGHTS
from tests.adapter_folders import change_config, change_weights, make_adapter, write_card
from tests.test_cli import DAVID, persona_chat

NO_HUB = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DISABLE_XET": "1"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A trained adapter, not in the registry."""
    folder = make_adapter(tmp_path / "run-7")
    scores = {"perplexity": {"value": 3.1234, "low": 3.0, "high": 3.2}}
    write_card(folder, created="2026-11-25T10:00:00+00:00", scores=scores)
    return folder


def test_an_adapter_comes_in_goes_into_service_and_back_and_goes(tmp_path: Path, run: Path) -> None:
    at = ("--data-dir", tmp_path / "data", "--base", "embedded")

    def done(*arguments: object) -> str:
        ran = persona_chat("adapters", *arguments)
        assert (ran.returncode, ran.stderr) == (0, b"")
        return ran.stdout.decode()

    def in_service() -> list[str]:
        return [entry["name"] for entry in json.loads(done("list", "--json", *at)) if entry["in_service"]]

    at_first = in_service()
    assert "use run-7" in done("import", run, *at)
    assert in_service() == at_first
    (entry,) = [entry for entry in json.loads(done("list", "--json", *at)) if entry["name"] == "run-7"]
    assert entry == {
        "name": "run-7",
        "in_service": False,
        "template": "persona-ab-1",
        "base": "embedded",
        "created": "2026-11-25T10:00:00+00:00",
        "scores": {"perplexity": {"value": 3.1234, "low": 3.0, "high": 3.2}},
    }
    assert "run-7 is in service" in done("use", "run-7", *at)
    assert in_service() == ["run-7"]
    assert done("list", "--json", "--demo", *at) == done("list", "--json", "--demo", *at)
    assert "run-7" not in [
        entry["name"] for entry in json.loads(done("list", "--json", "--demo", *at)) if entry["in_service"]
    ]
    table = done("list", *at)
    assert "● " in table
    assert " 3.12 " in table
    shown = json.loads(done("show", "run-7", "--json", *at))
    assert shown["card"]["weights_sha256"] == hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()
    assert "weights_sha256" in done("show", "run-7", *at)
    assert "none is in service" in done("use", "none", *at)
    assert "run-7 is in service" in done("rollback", *at)
    done("rollback", *at)
    done("remove", "run-7", *at)
    assert not (tmp_path / "data/adapters/run-7").exists()


def test_what_is_refused_ends_in_9_and_what_was_typed_wrong_in_2(tmp_path: Path, run: Path) -> None:
    at = ("--data-dir", tmp_path / "data", "--base", "embedded")

    def failed(code: int, says: str, *arguments: object, **environment: str) -> None:
        ran = persona_chat("adapters", *arguments, *at, **environment)
        assert (ran.returncode, ran.stdout) == (code, b""), ran.stderr
        assert says in ran.stderr.decode()
        assert ran.stderr.count(b"\n") == 1

    failed(2, "There is no adapter nobody", "use", "nobody")
    failed(2, "cannot be an adapter's name", "use", "../run-7")
    failed(2, "cannot be an adapter's name", "import", run, "--name", "a/b")
    failed(2, "No other adapter was in service", "rollback")
    failed(9, "no such folder", "import", tmp_path / "nowhere")
    failed(9, "could not be had from the hub", "import", "nobody/nothing", "--template", "persona-ab-0", **NO_HUB)
    assert persona_chat("adapters", "import", run, *at).returncode == 0
    assert persona_chat("adapters", "use", "run-7", *at).returncode == 0
    failed(2, "in service, so it stays", "remove", "run-7")
    change_weights(run, lambda arrays: arrays.clear())
    failed(9, "tensors are missing", "import", run, "--name", "other")
    (run / CARD).unlink()
    failed(9, "tensors are missing", "import", run, "--name", "other")


def test_an_adapter_of_another_base_is_said_at_the_start_and_by_the_doctor(tmp_path: Path, run: Path) -> None:
    at = ("--data-dir", tmp_path / "data")
    for_llama = ("--base", "unsloth/Llama-3.2-1B")
    change_config(run, base_model_name_or_path="unsloth/Llama-3.2-1B")
    write_card(run, base="unsloth/Llama-3.2-1B")
    assert persona_chat("adapters", "import", run, *at, *for_llama).returncode == 0
    assert persona_chat("adapters", "use", "run-7", *at, *for_llama).returncode == 0
    assert persona_chat("adapters", "use", "run-7", *at, "--base", "embedded").returncode == 9
    done = persona_chat("reply", DAVID, *at, "--base", "embedded")
    assert done.returncode == 9
    assert b"trained on the base unsloth/Llama-3.2-1B, and embedded is the one here" in done.stderr
    assert b"PERSONA_CHAT_BASE=unsloth/Llama-3.2-1B" in done.stderr
    assert not (tmp_path / "data" / "models").exists(), "said before anything is loaded"
    done = persona_chat("doctor", *at, PERSONA_CHAT_BASE="embedded")
    assert b"trained on the base unsloth/Llama-3.2-1B" in b" ".join(done.stdout.split())


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as getting some files of one repository takes."""

    repository = "nobody/persona-adapter"
    commit = "0123456789abcdef0123456789abcdef01234567"
    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith(f"/api/models/{self.repository}"):
            files = [{"rfilename": name, "type": "file", "path": name, "size": 1, "oid": "0"} for name in self.files]
            known = {"id": self.repository, "sha": self.commit, "siblings": files}
            return self._send(json.dumps(files if "/tree/" in self.path else known).encode())
        name = self.path.rpartition("/")[2].partition("?")[0]
        if name in self.files and self.path.startswith(f"/{self.repository}/resolve/"):
            return self._send(self.files[name])
        return self._send(b"", 404)

    def _send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[type[Hub], dict[str, str]]]:
    folder = make_adapter(tmp_path / "on the hub")
    files = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
    here = type("Here", (Hub,), {"files": files | {"README.md": b"x", "training_args.bin": b"x"}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), here)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield here, {**NO_HUB, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    server.shutdown()
    server.server_close()


def test_an_adapter_comes_from_the_hub_without_the_other_files_there(tmp_path: Path, hub) -> None:
    there, environment = hub
    at = ("--data-dir", tmp_path / "data", "--base", "embedded")
    done = persona_chat("adapters", "import", Hub.repository, "--template", "persona-ab-0", *at, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    folder = tmp_path / "data/adapters/persona-adapter"
    assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS, CARD}
    assert (folder / WEIGHTS).read_bytes() == there.files[WEIGHTS]
    assert json.loads((folder / CARD).read_text())["imported_from"] == Hub.repository
    assert not any(".bin" in path or "README" in path for path in there.asked if "resolve" in path)
    assert [path.name for path in folder.parent.iterdir()] == ["persona-adapter"]


def test_a_repository_that_has_only_a_pickle_is_refused(tmp_path: Path, hub) -> None:
    there, environment = hub
    there.files["adapter_model.bin"] = there.files.pop(WEIGHTS)
    at = ("--data-dir", tmp_path / "data", "--base", "embedded")
    done = persona_chat("adapters", "import", Hub.repository, "--template", "persona-ab-0", *at, **environment)
    assert done.returncode == 9
    assert b"has no adapter_model.safetensors" in done.stderr
    assert list((tmp_path / "data/adapters").iterdir()) == []

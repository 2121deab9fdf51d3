"""One bot per data folder, with a real second process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.run import serve
from persona_chat.errors import AlreadyRunning, DataFolderUnusable
from persona_chat.instance import only_one_in
from persona_chat.settings import load_settings
from tests.test_cli import persona_chat

HOLDER = """
import sys
from pathlib import Path
from persona_chat.instance import only_one_in

with only_one_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the folder until it is ended."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_the_second_is_told_which_process_holds_the_folder(tmp_path: Path) -> None:
    with holding(tmp_path / "data") as first:
        said = f"in use by process {first.pid}.*kill {first.pid}"
        with pytest.raises(AlreadyRunning, match=said), only_one_in(tmp_path / "data"):
            pytest.fail("both hold it")
        with only_one_in(tmp_path / "other"):
            pass
    assert (tmp_path / "data/instance.lock").stat().st_mode & 0o777 == 0o600


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holding(tmp_path) as first:
        first.kill()
        first.wait()
        with only_one_in(tmp_path):
            assert (tmp_path / "instance.lock").read_text() == f"{os.getpid()}\n"


async def test_run_refuses_a_folder_that_is_held_before_it_touches_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "token")
    settings = load_settings(data_dir=tmp_path / "data")
    with holding(settings.data_dir) as first:
        with pytest.raises(AlreadyRunning, match=str(first.pid)):
            await serve(settings)
        assert [path.name for path in settings.data_dir.iterdir()] == ["instance.lock"]


def test_demo_and_run_end_with_a_code_of_their_own(tmp_path: Path) -> None:
    with holding(tmp_path) as first:
        for command in (("run",), ("demo", "--no-browser")):
            done = persona_chat(*command, "--data-dir", tmp_path, DISCORD_TOKEN="token")
            assert done.returncode == AlreadyRunning.exit_code, done.stderr
            assert str(first.pid).encode() in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataFolderUnusable, match="cannot be kept"), only_one_in(tmp_path / "data"):
        pytest.fail("it was made")

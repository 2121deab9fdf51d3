"""The rooms' direction: import-linter's contracts hold, and a planted import breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.prefix) / "bin/lint-imports", "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for room in ("bot", "persona_chat"):
        shutil.copytree(ROOT / room, tmp_path / room)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_go_from_the_bot_to_the_core_and_torch_stays_in_the_engine() -> None:
    for room in ("bot", "persona_chat", "persona_chat/engine", "persona_chat/store"):
        assert list((ROOT / room).glob("*.py"))
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("file", "planted"),
    [
        ("persona_chat/privacy.py", "import bot.text"),
        ("persona_chat/privacy.py", "import discord"),
        ("persona_chat/template.py", "import torch"),
        ("persona_chat/engine/local.py", "import trl"),
        ("bot/text.py", "import torch"),
        ("bot/client.py", "import sqlalchemy"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(copy: Path, file: str, planted: str) -> None:
    with (copy / file).open("a") as source:
        source.write(f"\n{planted}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    assert "1 broken" in done.stdout

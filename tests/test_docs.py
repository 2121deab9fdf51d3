"""What the documents say is so: commands, codes, the permission integer, links."""

import re
from pathlib import Path

import pytest

from bot.__main__ import app
from bot.client import PERMISSIONS
from persona_chat import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_the_readme_names_every_command() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"persona-chat {command.callback.__name__}" in README
    for group in app.registered_groups:
        assert f"persona-chat {group.name}" in README


def test_the_readme_names_the_permission_integer() -> None:
    assert f"`{PERMISSIONS.value}`" in README


def test_the_readme_names_every_exit_code() -> None:
    codes = {
        error.exit_code for error in (errors.InputError, errors.TrainingFailed, *errors.CannotStart.__subclasses__())
    }
    said = README.split("an exit code:", 1)[1].split(".", 1)[0]
    assert {int(code) for code in re.findall(r"\b\d+\b", said)} == codes


def test_the_errors_are_drawn_as_they_are() -> None:
    drawn = set(re.findall(r"[─ ](\w+)", (errors.__doc__ or "").split("PersonaChatError", 1)[1]))
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined - {"PersonaChatError", "ClassVar", "Callable"} <= drawn


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", ["PRIVACY.md", "SECURITY.md", "docs/operations.md"])
def test_what_operators_read_names_commands_that_there_are(document: str) -> None:
    there = set(re.findall(r"^\| `/([\w -]+)` \|", (ROOT / "docs/commands.md").read_text(), re.MULTILINE))
    named = re.findall(r"`/([a-z]+(?: [a-z-]+)*)`", (ROOT / document).read_text())
    addresses = {"healthz", "readyz", "metrics"}
    assert [name for name in named if name not in there | addresses] == []

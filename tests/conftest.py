"""Fixtures that several test files share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store


@pytest.fixture(autouse=True)
def _no_settings_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not read the developer's own environment, nor a `.env` beside the code.

    Messages are answered one by one: what is said in a row has tests of its own, and elsewhere the wait for it is time.
    """
    for name in list(os.environ):
        if name.startswith("PERSONA_CHAT_") and not name.startswith("PERSONA_CHAT_TESTS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PERSONA_CHAT_BURST_S", "0")
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with all tables: on a new SQLite file, and where a test has the mark, on PostgreSQL once more."""
    upgrade(database_url)
    store = Store(open_database(database_url))
    yield store
    store.close()


pytest_plugins = [
    "tests.demo_page",
    "tests.login_discord",
    "tests.model_fixtures",
    "tests.postgres",
    "tests.people",  # after what it imports, whose asserts pytest rewrites
    "tests.registry_fixtures",
    "tests.running_bot",
    "tests.training_fixtures",
    "tests.webhook_discord",
]

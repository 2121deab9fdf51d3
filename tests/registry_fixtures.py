"""Fixtures with a registry: empty, with two adapters, and with one that ships."""

from pathlib import Path

import pytest

from persona_chat import adapters
from persona_chat.registry import Registry
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.adapter_folders import make_adapter, write_card


@pytest.fixture
def none_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What really ships is no part of tests of the registry."""
    monkeypatch.setattr(adapters, "SHIPPED", tmp_path / "nothing")


@pytest.fixture
def registry(settings: Settings, store: Store, none_ships: None) -> Registry:
    """The registry of the embedded base, still empty."""
    return Registry(settings.data_dir, store, "embedded")


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The folder of a run, with its card."""
    folder = make_adapter(tmp_path / "Run 7", seed=7)
    write_card(folder, created="2026-11-25T10:00:00+00:00", scores={"f1": {"value": 0.2, "low": 0.1, "high": 0.3}})
    return folder


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with the adapters `one` and `two`, the first of them in service."""
    for seed, name in enumerate(("one", "two")):
        folder = make_adapter(tmp_path / name, seed=seed)
        write_card(folder)
        registry.import_(str(folder))
    registry.use("one")
    return registry


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, none_ships: None) -> Path:
    """An adapter that comes with the package."""
    folder = make_adapter(tmp_path / "package" / "default_adapter", seed=9)
    write_card(folder)
    monkeypatch.setattr(adapters, "SHIPPED", folder)
    return folder

"""Fixtures that hold the real embedded model. The conversion is kept between runs, in `.cache` (ignored by git)."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from persona_chat.dialogue import Speaker, Turn
from persona_chat.engine import embedded
from persona_chat.engine.cores import share_cores
from persona_chat.engine.local import LocalEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings

# Workers of pytest-xdist run models on the same cores, and tests import torch before an engine does.
share_cores()

QUEUE_SIZE = 3

VERA = Persona("Vera", "I keep a lighthouse on a small island.", ("I have a parrot, Pickles.", "I love tea."))
HELLO = (Turn(Speaker.A, "Hello! What do you do all day?"),)


@pytest.fixture(scope="session")
def embedded_data_dir() -> Path:
    """A data folder where the embedded model is converted."""
    data_dir = Path(__file__).parents[1] / ".cache" / "persona-chat-tests"
    data_dir.mkdir(parents=True, exist_ok=True)
    # One of pytest-xdist's workers converts, the others wait for it.
    with (data_dir / "converting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        embedded.ready_folder(data_dir)
    return data_dir


@pytest.fixture(scope="session")
def embedded_settings(embedded_data_dir: Path) -> Settings:
    """Settings of a small engine; no .env of the developer reaches them."""
    return Settings(
        _env_file=None,
        data_dir=embedded_data_dir,
        base="embedded",
        precision="fp32",
        queue_size=QUEUE_SIZE,
        max_new_tokens=24,
    )


@pytest.fixture(scope="session")
def tiny_engine(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LocalEngine]:
    """Make an engine on a random base of two thin layers, for tests that are about everything but the words."""
    base = {"base": str(tiny_base), "data_dir": tmp_path_factory.mktemp("tiny-data")}
    settings = Settings(_env_file=None, precision="fp32", queue_size=64, **base)
    return lambda **more: LocalEngine(settings.model_copy(update=more))


@asynccontextmanager
async def started(engine: LocalEngine) -> AsyncIterator[LocalEngine]:
    """The engine, started, for the length of a block."""
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@pytest.fixture
def settings_of(embedded_settings: Settings) -> Callable[..., Settings]:
    """Give the settings of an engine that asks the server at a URL."""

    def settings(url: str, **more: Any) -> Settings:
        return embedded_settings.model_copy(update={"engine": "remote", "server_url": url, **more})

    return settings


@pytest.fixture(scope="session")
def model_engine(embedded_settings: Settings) -> Iterator[LocalEngine]:
    """A started engine with the embedded model, shared: a test leaves it as it was."""
    engine = LocalEngine(embedded_settings)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())

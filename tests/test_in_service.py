"""Which adapter is in service: the one pointer, the way back, and an engine that follows it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from persona_chat import adapters
from persona_chat.adapters import CARD
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.registry import Registry, adapters_folder
from persona_chat.serving import to_serve
from persona_chat.settings import load_settings
from persona_chat.store.database import DATABASE, DEMO_DATABASE, default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.adapter_folders import change_weights


def test_one_command_goes_back_and_the_same_again_forth(two):
    two.use("two")
    assert two.rollback() == "one"
    assert two.in_service() == "one"
    assert two.rollback() == "two"
    two.use(None)
    assert two.rollback() == "two"


def test_a_rollback_does_not_go_to_what_an_engine_refused(two, store):
    two.use("two")
    store.put_back("two", "one", "put back: it is no good")
    assert two.rollback() is None, "the plain base was there before"


def test_a_rollback_to_an_adapter_that_is_not_sound_any_more_changes_nothing(two):
    two.use("two")
    change_weights(two.folder("one"), lambda arrays: arrays.clear())
    with pytest.raises(AdapterRefused):
        two.rollback()
    assert two.in_service() == "two"


def test_without_a_choice_there_is_nothing_to_go_back_to(registry):
    with pytest.raises(InputError, match="No other adapter"):
        registry.rollback()


def test_the_one_in_service_is_not_removed_and_another_is(two):
    with pytest.raises(InputError, match="in service, so it stays"):
        two.remove("one")
    two.remove("two")
    assert [entry.name for entry in two.list()] == ["one"]
    assert [path.name for path in adapters_folder(two._data_dir).iterdir()] == ["one"]
    with pytest.raises(InputError, match="no adapter two"):
        two.remove("two")


def test_what_serves_in_the_demo_is_not_removed_from_the_bots_side(two, settings):
    url = default_url(settings.data_dir, DEMO_DATABASE)
    upgrade(url)
    demo = Store(open_database(url))
    demo.put_in_service("two", "use")
    with pytest.raises(InputError, match="--demo"):
        two.remove("two")
    demo.put_in_service(None, "use")
    two.remove("two")
    demo.close()


def test_what_ships_serves_the_embedded_base_until_somebody_chooses(settings, store, registry, trained, shipped):
    assert registry.in_service() == "default"
    assert [entry.name for entry in registry.list() if entry.in_service] == ["default"]
    assert Registry(settings.data_dir, store, "unsloth/Llama-3.2-1B").in_service() is None
    registry.import_(str(trained))
    registry.use("run-7")
    assert registry.rollback() == "default"
    registry.use(None)
    assert registry.in_service() is None
    with pytest.raises(InputError, match="means the shipped adapter"):
        registry.remove("default")
    assert adapters.read_adapter(shipped).name.startswith("default@")


def test_what_ships_is_not_for_another_base(settings, store, shipped):
    with pytest.raises(AdapterRefused, match="trained on the base embedded"):
        Registry(settings.data_dir, store, "unsloth/Llama-3.2-1B").use("default")


async def moved(store: Store, name: str | None, done: Callable[[], bool]) -> None:
    """Move the pointer as a shell would, and wait until a task that follows it has dealt with that."""
    store.put_in_service(name, "use")
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110  nobody could tell
            await asyncio.sleep(0.01)


@asynccontextmanager
async def following(registry: Registry, engine: ScriptedEngine) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(registry.follow(engine, registry.in_service(), every_s=0.01))
    yield task
    task.cancel()
    await asyncio.wait((task,))


async def test_a_running_engine_follows_what_another_process_chooses(two, settings):
    engine = ScriptedEngine(lambda _: "Hi.")
    shell = Store(open_database(default_url(settings.data_dir)))
    async with following(two, engine):
        for name in ("two", None, "one"):
            await moved(shell, name, lambda name=name: str(engine.adapter).split("@")[0] == str(name))
    shell.close()
    assert engine.used == [two.folder("two"), None, two.folder("one")]


async def test_what_the_engine_refuses_is_logged_and_the_pointer_put_back(two, store, caplog):
    change_weights(two.folder("two"), lambda arrays: arrays.clear())
    async with following(two, ScriptedEngine(lambda _: "Hi.")):
        for name in ("two", "nobody"):
            await moved(store, name, lambda: two.in_service() == "one")
    assert [(move.adapter, move.why.split(":")[0]) for move in reversed(store.services(9))] == [
        ("one", "use"),
        ("two", "use"),
        ("one", "put back"),
        ("nobody", "use"),
        ("one", "put back"),
    ]
    assert "is not used" in caplog.text
    assert "Traceback" not in caplog.text


async def test_following_outlives_a_broken_database_and_a_closed_engine(two, store, settings, caplog):
    engine = ScriptedEngine(lambda _: "Hi.")
    async with following(two, engine) as task:
        with closing(sqlite3.connect(settings.data_dir / DATABASE)) as shell:
            shell.execute("ALTER TABLE services RENAME TO gone")
            await asyncio.sleep(0.2)
            assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
            shell.execute("ALTER TABLE gone RENAME TO services")
        await moved(store, "two", lambda: bool(engine.used))
        await engine.close()
        store.put_in_service("one", "use")
        await asyncio.sleep(0.2)
        assert not task.done()
    assert two.in_service() == "one", "what a person chose stays chosen for the next start"


def test_a_move_back_counts_only_where_nobody_moved_on(two, store):
    two.use("two")
    store.put_back("elsewhere", "one", "put back: late")
    assert two.in_service() == "two"


def test_settings_come_first_then_the_pointer_and_no_database_is_made(two, settings, tmp_path, trained):
    url = default_url(settings.data_dir)
    assert to_serve(settings, url).folder == two.folder("one")
    assert to_serve(settings, url).followed

    def given(adapter: str) -> Path | None:
        serving = to_serve(load_settings(data_dir=settings.data_dir, adapter=adapter), url)
        assert not serving.followed
        return serving.folder

    assert given("two") == two.folder("two")
    assert given(str(trained)) == trained
    assert given("none") is None
    with pytest.raises(AdapterRefused, match="no adapter nowhere"):
        given("nowhere")
    elsewhere = load_settings(data_dir=tmp_path / "elsewhere", base="embedded")
    assert to_serve(elsewhere, default_url(elsewhere.data_dir)).folder is None
    assert not elsewhere.data_dir.exists()


def test_an_adapter_in_service_whose_folder_is_gone_is_said_with_what_to_do(two, settings):
    (two.folder("one") / CARD).unlink()
    with pytest.raises(AdapterRefused, match=r"one is in service, and it is not in .* adapters use NAME"):
        to_serve(settings, default_url(settings.data_dir))

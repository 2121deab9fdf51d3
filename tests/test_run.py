"""`persona-chat run` against a Discord on this machine: what is missing is said before anything slow happens."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import discord
import pytest
from sqlalchemy import text

from bot import drain, run
from bot.client import PERMISSIONS, invite_url
from persona_chat import errors
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import (
    BaseUnavailable,
    DatabaseTooNew,
    DataFolderUnusable,
    DiscordUnreachable,
    EngineLost,
    GatewayRefused,
    IntentMissing,
    TokenMissing,
    TokenRejected,
)
from persona_chat.example import DAVID
from persona_chat.keyring import keys_of
from persona_chat.place import Scope, Spot
from persona_chat.registry import Registry
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.adapter_folders import make_adapter, write_card
from tests.fakediscord.bot_here import bot_here
from tests.fakediscord.server import FakeDiscord
from tests.login_discord import CHANNEL, LoginDiscord


@pytest.fixture
def with_token(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DISCORD_TOKEN", "canary-token")
    return load_settings(data_dir=settings.data_dir)


async def test_a_missing_token_is_said_first(settings: Settings) -> None:
    with pytest.raises(TokenMissing, match="DISCORD_TOKEN=…"):
        await run.serve(settings)
    assert not settings.data_dir.exists()


async def test_a_rejected_token_is_said_without_showing_it(
    with_token: Settings, login_discord: LoginDiscord, caplog: pytest.LogCaptureFixture
) -> None:
    login_discord.status = 401
    with pytest.raises(TokenRejected, match="does not accept the token") as error:
        await run.serve(with_token)
    assert "canary-token" not in str(error.value) + caplog.text


async def test_a_missing_intent_is_said_before_the_model_is_loaded(
    with_token: Settings, login_discord: LoginDiscord
) -> None:
    login_discord.flags = 0
    with pytest.raises(IntentMissing, match="turn on Message Content Intent"):
        await run.serve(with_token)
    assert not (with_token.data_dir / "models").exists()


async def test_an_unreachable_discord_is_said(with_token: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord.http.Route, "BASE", "http://127.0.0.1:9/api/v10")
    # discord.py tries a refused connection five times, with growing pauses.
    monkeypatch.setattr(asyncio, "sleep", lambda *_args, **_kwargs: asyncio.wait_for(_nothing(), None))
    with pytest.raises(DiscordUnreachable, match="cannot be reached"):
        await run.serve(with_token)


async def _nothing() -> None:
    return None


async def test_a_base_that_cannot_be_had_is_said(
    with_token: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(data_dir=with_token.data_dir, base="/no/such/folder")
    with pytest.raises(BaseUnavailable, match="/no/such/folder"):
        await run.serve(settings)
    assert login_discord.asked


@pytest.fixture
def with_model(with_token: Settings, embedded_data_dir: Path) -> Settings:
    with_token.data_dir.mkdir(parents=True)
    (with_token.data_dir / "models").symlink_to(embedded_data_dir / "models")
    return with_token


@pytest.mark.model
async def test_a_direct_message_is_answered_by_the_model_and_sigterm_ends_the_bot(
    with_model: Settings, login_discord: LoginDiscord, capsys: pytest.CaptureFixture[str]
) -> None:
    url = default_url(with_model.data_dir)
    upgrade(url)
    store = Store(open_database(url))
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.ME, 1), DAVID)
    store.close()

    # Without drafts: on a busy machine one would come before the reply.
    serving = asyncio.create_task(run.serve(with_model.model_copy(update={"stream": False})))
    async with asyncio.timeout(120):
        await asyncio.wait((serving, asyncio.create_task(login_discord.answered.wait())), return_when="FIRST_COMPLETED")
        assert login_discord.answered.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving

    (sent,) = login_discord.sent
    assert sent["content"]
    assert sent["message_reference"]["message_id"] == 7001
    assert sent["allowed_mentions"]["parse"] == []
    assert sent["nonce"] == "7001.0"
    assert sent["enforce_nonce"] is True
    assert "permissions=275414846464" in capsys.readouterr().out


async def stopped_while_it_thinks(settings: Settings, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Let SIGTERM come in the middle of a reply, and return what is in the database then."""
    monkeypatch.setattr(run, "engine_for", lambda _settings, **_: engine)
    url = default_url(settings.data_dir)
    upgrade(url)
    store = Store(open_database(url))
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.ME, 1), DAVID)
    serving = asyncio.create_task(run.serve(settings))
    async with asyncio.timeout(20):
        while not engine.requests:  # noqa: ASYNC110  the engine is no part that could tell
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    store.close()
    return Store(open_database(url, keys_of(settings)))


async def test_a_stop_in_the_middle_of_a_reply_leaves_it_for_the_next_start_and_logs_no_trace(
    with_token: Settings,
    login_discord: LoginDiscord,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(drain, "FINISH_S", 0.1)
    engine = ScriptedEngine(lambda _request: "never", delay_s=30)
    store = await stopped_while_it_thinks(with_token, engine, monkeypatch)
    assert login_discord.sent == []
    (left,) = store.inbox.left(0)
    assert (left.message_id, left.reply) == (7001, None)
    store.close()
    assert engine.cancelled
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_stop_waits_for_a_reply_that_is_nearly_there(
    with_token: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await stopped_while_it_thinks(
        with_token, ScriptedEngine(lambda _request: "There.", delay_s=0.5), monkeypatch
    )
    assert [sent["content"] for sent in login_discord.sent] == ["There."]
    (left,) = store.inbox.left(0)
    assert (left.reply, left.sent) == ("There.", {0: 7002})
    store.close()


async def test_a_running_bot_takes_what_a_shell_puts_in_service_and_starts_with_it_again(
    with_token: Settings,
    login_discord: LoginDiscord,
    monkeypatch: pytest.MonkeyPatch,
    registry: Registry,
    tmp_path: Path,
) -> None:
    engine = ScriptedEngine(lambda _request: "Hi.")
    started_with: list[Path | None] = []

    def build(_settings: Settings, adapter: Path | None) -> ScriptedEngine:
        started_with.append(adapter)
        return engine

    monkeypatch.setattr(run, "engine_for", build)
    monkeypatch.setenv("PERSONA_CHAT_BASE", "embedded")
    settings = load_settings(data_dir=with_token.data_dir)
    write_card(make_adapter(tmp_path / "new"))
    registry.import_(str(tmp_path / "new"))

    async def serve_until(done: Callable[[], bool]) -> None:
        serving = asyncio.create_task(run.serve(settings))
        async with asyncio.timeout(30):
            while not done():
                assert not serving.done()
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            await serving

    await serve_until(login_discord.identified.is_set)
    registry.use("new")
    login_discord.identified.clear()
    engine = ScriptedEngine(lambda _request: "Hi.")
    await serve_until(login_discord.identified.is_set)
    assert started_with == [None, registry.folder("new")]

    login_discord.identified.clear()
    engine = ScriptedEngine(lambda _request: "Hi.")
    serving = asyncio.create_task(serve_until(lambda: engine.used == [None]))
    async with asyncio.timeout(30):
        await login_discord.identified.wait()
    registry.use(None)
    await serving


@pytest.mark.model
@pytest.mark.parametrize(("code", "error"), [(4014, IntentMissing), (4004, TokenRejected), (4013, GatewayRefused)])
async def test_what_the_gateway_refuses_is_said(
    with_model: Settings, login_discord: LoginDiscord, code: int, error: type[Exception]
) -> None:
    login_discord.refuse_with = code
    with pytest.raises(error):
        await run.serve(with_model)


@pytest.mark.model
async def test_a_model_that_is_lost_for_good_ends_the_process_so_that_a_supervisor_begins_another(
    with_model: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines: list[LocalEngine] = []

    def kept(settings: Settings, adapter: Path | None) -> LocalEngine:
        engines.append(LocalEngine(settings, adapter=adapter))
        return engines[-1]

    monkeypatch.setattr(run, "engine_for", kept)
    serving = asyncio.create_task(run.serve(with_model))
    async with asyncio.timeout(120):
        await asyncio.wait(
            (serving, asyncio.create_task(login_discord.identified.wait())), return_when="FIRST_COMPLETED"
        )
        engines[0].lost.set()
        with pytest.raises(EngineLost) as error:
            await serving
    assert error.value.exit_code == 70


async def test_while_it_serves_python_looks_for_garbage_in_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = FakeDiscord()
    async with bot_here(there, tmp_path / "data", monkeypatch) as here:
        here.say(there.channels[0])
        await here.until_answered()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


async def test_a_folder_that_cannot_be_written_is_said(with_token: Settings) -> None:
    with_token.data_dir.parent.mkdir(exist_ok=True, parents=True)
    with_token.data_dir.write_text("a file in the folder's place")
    with pytest.raises(DataFolderUnusable, match="PERSONA_CHAT_DATA_DIR"):
        await run.serve(with_token)


async def test_a_database_of_a_newer_version_is_said(with_token: Settings) -> None:
    url = default_url(with_token.data_dir)
    upgrade(url)
    database = open_database(url)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    with pytest.raises(DatabaseTooNew, match="9999"):
        await run.serve(with_token)


def test_every_error_that_stops_the_start_has_an_exit_code_of_its_own() -> None:
    codes = {error.exit_code for error in errors.CannotStart.__subclasses__()}
    assert len(codes) == len(errors.CannotStart.__subclasses__())
    assert not codes & {0, 1, 2, 70, 130}


def test_the_invite_asks_for_exactly_what_the_bot_needs() -> None:
    assert PERMISSIONS.value == 275414846464
    url = invite_url(1000)
    assert "client_id=1000" in url
    assert "permissions=275414846464" in url
    assert "scope=bot+applications.commands" in url

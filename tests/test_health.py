"""Health, readiness and metrics: what machines see of a bot that runs, and what they never see."""

import json
import re
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot import run
from bot.health import Health, watched
from bot.metrics import Measured, Metrics
from bot.pace import Pace
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineBusy, SettingsError
from persona_chat.example import DAVID
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import echo, make_bot, world
from tests.login_discord import CHANNEL, LoginDiscord
from tests.running_bot import served, until_ready

ROOT = Path(__file__).parents[1]
VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


def figures(text: str) -> dict[str, float]:
    """The samples by name and labels, as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_a_running_bot_shows_itself_and_no_word_of_anybody(
    settings: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    engine = ScriptedEngine(lambda _request: "canary-reply")
    monkeypatch.setattr(run, "engine_for", lambda _settings, **_: engine)
    monkeypatch.setenv("DISCORD_TOKEN", "canary-token")
    url = default_url(settings.data_dir)
    upgrade(url)
    store = Store(open_database(url))
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.ME, 1), DAVID)
    store.close()
    with_port = load_settings(data_dir=settings.data_dir, metrics_port=port)

    async with served(with_port, login_discord) as session:
        assert (await session.get("/healthz")).status == 200
        ready = await until_ready(session)
        assert await ready.json() == {"discord": True, "model": True, "database": True}
        text = await (await session.get("/metrics")).text()

        await engine.rest()
        ready = await session.get("/readyz")
        assert (ready.status, await ready.json()) == (503, {"discord": True, "model": False, "database": True})

    shown = figures(text)
    assert shown["persona_chat_gateway_connected"] == 1
    assert shown["persona_chat_database_ok"] == 1
    assert shown["persona_chat_model_ready"] == 1
    assert shown["persona_chat_messages_total{outcome=answered}"] == 1
    assert shown["persona_chat_model_replies_total{finish=stop}"] == 1
    assert shown["persona_chat_reply_last_word_seconds_count"] == 1
    assert shown["persona_chat_reply_tokens_total"] == 1
    assert shown["persona_chat_discord_responses_total{status=200}"] >= 4
    assert shown["persona_chat_serving_info{adapter=none,base=scripted,device=none,precision=none}"] == 1
    for word in ("canary", "guest", "David", "7001", str(CHANNEL), "Hello"):
        assert word not in text, word


@pytest.fixture
def measured() -> tuple[Measured, Metrics]:
    metrics = Metrics()
    fails = iter([None, None, EngineBusy(), RuntimeError("canary")])
    return Measured(ScriptedEngine(lambda request: next(fails) or echo(request)), metrics), metrics


async def test_outcomes_errors_and_limits_are_counted(
    store: Store, settings: Settings, measured: tuple[Measured, Metrics]
) -> None:
    engine, metrics = measured
    async with world(store, settings, engine, check_errors=False) as here:
        here.bot.pace = Pace(5, 0)
        await here.seat(VERA)
        for number in range(5):
            await here.guest.send(here.talk, f"canary {number}")
        await here.guest.send(here.talk, "canary, too quick")
        async with TestClient(TestServer(Health(here.bot, engine, metrics, store.answers_now).app())) as client:
            shown = figures(await (await client.get("/metrics")).text())
            assert (await client.get("/readyz")).status == 200
            assert (await client.get("/healthz")).status == 200
    assert shown["persona_chat_messages_total{outcome=answered}"] == 2
    assert shown["persona_chat_messages_total{outcome=EngineBusy}"] == 1
    assert shown["persona_chat_messages_total{outcome=failed}"] == 2
    assert shown["persona_chat_model_errors_total{error=EngineBusy}"] == 1
    assert shown["persona_chat_pace_limited_total{limit=person}"] == 1
    assert shown["persona_chat_model_replies_total{finish=stop}"] == 2


async def test_a_database_that_does_not_answer_is_said(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Measured(ScriptedEngine(echo), Metrics())
    async with world(store, settings) as here:
        assert store.answers_now()
        with store.writing() as connection:
            connection.exec_driver_sql("ALTER TABLE personas RENAME TO gone")
        app = Health(here.bot, engine, Metrics(), store.answers_now).app()
        async with TestClient(TestServer(app)) as client:
            assert (await (await client.get("/readyz")).json())["database"] is False


async def test_a_bot_that_is_not_connected_lives_and_is_not_ready(store: Store, settings: Settings) -> None:
    health = Health(make_bot(store, settings), Measured(ScriptedEngine(echo), Metrics()), Metrics(), store.answers_now)
    async with TestClient(TestServer(health.app())) as client:
        ready = await client.get("/readyz")
        assert (ready.status, await ready.json()) == (503, {"discord": False, "model": True, "database": True})
        assert (await client.get("/healthz")).status == 200


async def test_a_port_that_is_taken_is_said(store: Store, settings: Settings, port: int) -> None:
    engine = Measured(ScriptedEngine(echo), Metrics())
    async with world(store, settings) as here:
        health = Health(here.bot, engine, Metrics(), store.answers_now)
        async with watched(health, "127.0.0.1", port):
            again = Health(here.bot, engine, Metrics(), store.answers_now)
            with pytest.raises(SettingsError, match=f"PERSONA_CHAT_METRICS_PORT: port {port}"):
                async with watched(again, "127.0.0.1", port):
                    pass


async def test_the_dashboard_names_only_metrics_that_there_are(store: Store, settings: Settings) -> None:
    board = json.loads((ROOT / "deploy/grafana.json").read_text())
    asked = {target["expr"] for panel in board["panels"] for target in panel.get("targets", [])}
    named = {name for expression in asked for name in re.findall(r"\b(?:persona_chat|process)_\w+", expression)}
    metrics = Metrics()
    async with world(store, settings) as here:
        Health(here.bot, Measured(ScriptedEngine(echo), metrics), metrics, store.answers_now)
        families = list(text_string_to_metric_families(generate_latest(metrics.registry).decode()))
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "info": ("_info",)}
    there = {f"{family.name.removesuffix('_info')}{end}" for family in families for end in endings[family.type]}
    there |= {family.name for family in families}
    assert len(named) >= 15
    assert named - there == set()
    labels = set(re.findall(r"by \((\w+)", " ".join(asked)))
    assert labels <= {"outcome", "error", "finish", "limit", "status", "source", "le", "adapter"}

"""Several connections to Discord, in one process and in several."""

from types import SimpleNamespace

import discord
import pytest

from bot import run
from bot.shards import look_again
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import SettingsError
from persona_chat.example import DAVID
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import echo
from tests.login_discord import CHANNEL, LoginDiscord
from tests.running_bot import served, until_ready

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


async def test_all_shards_of_a_process_are_connected_and_a_message_on_two_is_answered_once(
    settings: Settings, login_discord: LoginDiscord, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    engine = ScriptedEngine(lambda _request: "Hi.")
    monkeypatch.setattr(run, "engine_for", lambda _settings, **_: engine)
    monkeypatch.setenv("DISCORD_TOKEN", "canary-token")

    async def at_once(_self: discord.Client, _shard: int | None, *, initial: bool) -> None:
        """Discord wants five seconds between two, and this one does not."""

    monkeypatch.setattr(discord.Client, "before_identify_hook", at_once)
    url = default_url(settings.data_dir)
    upgrade(url)
    store = Store(open_database(url))
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.ME, 1), DAVID)
    store.close()
    three = load_settings(data_dir=settings.data_dir, metrics_port=port, shard_count=3, shard_ids=(0, 2))
    async with served(three, login_discord) as session:
        await until_ready(session)
    assert sorted(login_discord.shards) == [[0, 3], [2, 3]]
    assert len(engine.requests) == 1
    assert [sent["content"] for sent in login_discord.sent] == ["Hi."]


async def test_one_connection_says_nothing_of_shards(settings: Settings) -> None:
    url = default_url(settings.data_dir)
    upgrade(url)
    async with run.open_core(settings, url, ScriptedEngine(echo)) as core:
        assert type(run.bot_on(core, settings, webhooks=False)).__name__ == "PersonaBot"
        two = load_settings(data_dir=settings.data_dir, shard_count=2)
        assert type(run.bot_on(core, two, webhooks=False)).__name__ == "ShardedBot"


async def test_a_process_answers_in_the_servers_of_its_shards_and_the_first_direct_messages(settings: Settings) -> None:
    url = default_url(settings.data_dir)
    upgrade(url)
    servers = [SimpleNamespace(guild=discord.Object(5 + (number << 22))) for number in range(3)]
    async with run.open_core(settings, url, ScriptedEngine(lambda _request: "Hi.")) as core:
        for shards, held in (((0, 2), [True, False, True, True]), ((1,), [False, True, False, False])):
            some = load_settings(data_dir=settings.data_dir, shard_count=3, shard_ids=shards)
            bot = run.bot_on(core, some, webhooks=False)
            assert [bot.holds(channel) for channel in (*servers, SimpleNamespace())] == held


@pytest.mark.parametrize("ids", ["2", "-1", "0,5"])
def test_a_shard_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch, ids: str) -> None:
    monkeypatch.setenv("PERSONA_CHAT_SHARD_COUNT", "2")
    monkeypatch.setenv("PERSONA_CHAT_SHARD_IDS", ids)
    with pytest.raises(SettingsError, match="shard_ids must be from 0 to 1"):
        load_settings()


async def test_a_process_does_what_a_person_told_another_one(settings: Settings) -> None:
    url = default_url(settings.data_dir)
    upgrade(url)
    person, place = 42, Place(CHANNEL, 42)
    async with (
        run.open_core(settings, url, ScriptedEngine(echo)) as one,
        run.open_core(settings, url, ScriptedEngine(echo)) as other,
    ):
        await one.privacy.opt_out(person)
        await one.chat.cast.put(place, Scope.CHANNEL, VERA)
        assert not other.privacy.opted_out(person)
        await look_again(other.chat, other.privacy)
        assert other.privacy.opted_out(person)
        assert other.chat.cast.is_on(place)

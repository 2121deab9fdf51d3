"""Whatever a text holds and by whichever way it goes to Discord, what is sent says that nobody is to be pinged."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import discord
import pytest
import simcord
from simcord.builders import ChannelHandle

from bot import faces
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import World, world
from tests.hostile import message
from tests.postgres import Postgres, kind_of, on_sqlite, only_whole_on_a_server
from tests.torture import count, record

pytestmark = [pytest.mark.usefixtures("webhook_discord"), pytest.mark.timeout(count(120, 900))]

VERA = Persona("Vera", "I keep a lighthouse.")
MENTIONS = ("@everyone", "@here", "<@&4242>", "<@1>", "<@!42>")
AT_ONCE = 10
"""So many texts in one simulated Discord: with more of them each takes longer."""
WAYS = {"reply", "edit", "webhook", "webhook edit", "answer", "answer edit", "follow-up"}


def written(env: simcord.Env) -> list[tuple[str, dict[str, Any]]]:
    """What makes a message or changes one, each with the way that it went."""
    found = []
    for request in env.http_requests:
        body = request.json if isinstance(request.json, dict) else {}
        way = _way(request.method, request.path.split("?")[0], body)
        if way is not None:
            found.append((way, body.get("data", body) if way.startswith("answer") and "data" in body else body))
    return found


def _way(method: str, path: str, body: dict[str, Any]) -> str | None:
    kind, rest = path.strip("/").split("/", 1)
    if kind == "interactions" and body.get("type") in (4, 7):
        return "answer" if body["type"] == 4 else "answer edit"
    if kind == "webhooks" and method == "POST":
        return "webhook" if "username" in body else "follow-up"
    if kind == "webhooks" and method == "PATCH":
        return "answer edit" if rest.endswith("@original") else "webhook edit"
    if kind == "channels" and "/messages" in rest and method in ("POST", "PATCH"):
        return "reply" if method == "POST" else "edit"
    return None


def loud(env: simcord.Env) -> list[str]:
    """The ways of what could ping somebody."""
    said = [(way, body.get("allowed_mentions") or {}) for way, body in written(env)]
    return [f"{way}: {allowed}" for way, allowed in said if allowed.get("parse") != [] or any(allowed.values())]


async def talked(here: World, texts: list[str]) -> Counter[str]:
    """Let each text go all ways; return how often each was gone."""
    assert here.bot.user is not None
    forbidden = {here.bot.user: discord.PermissionOverwrite(manage_webhooks=False)}
    plain = here.guild.create_text_channel("plain", overwrites=forbidden)
    for channel in (here.talk, plain):
        await here.bot.chat.cast.put(here.place(channel, here.owner), Scope.CHANNEL, VERA)
    for number, text in enumerate(texts):
        for channel in (here.talk, plain):
            await here.guest.send(channel, text)
            await here.guest.click(last(channel), label="🔁")
        await greeted(here, plain, f"P{number}", text)
        await here.guest.slash(here.talk, "persona test", name="Vera", message=text[:300])
        await here.guest.click(last(here.talk), label="⋯")
    return Counter(way for way, _ in written(here.env))


async def greeted(here: World, channel: ChannelHandle, name: str, greeting: str) -> None:
    """A newcomer greets, where there are no webhooks: that is a follow-up to the command."""
    persona = replace(VERA, name=name, greeting=greeting)
    await here.bot.chat.cast.create(Spot(Scope.SERVER, here.guild.id), persona, here.owner.id)
    await here.owner.slash(channel, "persona set", name=name)
    await here.bot.chat.cast.put(here.place(channel, here.owner), Scope.CHANNEL, VERA)


def last(channel: ChannelHandle) -> discord.Message:
    said = channel.last_message
    assert said is not None
    return said


@pytest.mark.both_databases
async def test_no_way_pings_anybody(
    tmp_path: Path, settings: Settings, database_url: str, request: pytest.FixtureRequest
) -> None:
    only_whole_on_a_server(database_url)
    database, chance = kind_of(database_url), Random(3)
    number = count(8, 100) if on_sqlite(database_url) else 30
    texts = [f"{chance.choice(MENTIONS)} {message(chance, 'hi')[:300]}" for _ in range(number)]
    engine, ways, offences = ScriptedEngine(lambda asked: asked.dialogue[-1].text), Counter[str](), []
    for first in range(0, len(texts), AT_ONCE):
        url = default_url(tmp_path, f"{first}.sqlite3")
        if not on_sqlite(database_url):
            postgres: Postgres = request.getfixturevalue("postgres")
            url = postgres.url(postgres.with_all_tables())
        upgrade(url)
        store = Store(open_database(url))
        async with world(store, settings, engine, webhooks=True) as here:
            ways += await talked(here, texts[first : first + AT_ONCE])
            offences += loud(here.env)
        store.close()
    record("F7", database=database, texts=len(texts), sent=ways.total(), ways=len(ways), pings=len(offences))
    assert set(ways) == WAYS
    assert min(ways.values()) >= len(texts)
    assert not offences


async def test_a_way_that_pings_would_be_seen(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "_NOBODY", discord.AllowedMentions.all())
    monkeypatch.setattr(discord.AllowedMentions, "none", discord.AllowedMentions.all)
    async with world(store, settings, ScriptedEngine(lambda asked: asked.dialogue[-1].text), webhooks=True) as here:
        await talked(here, ["@everyone hi"])
        assert {offence.split(":")[0] for offence in loud(here.env)} == WAYS


def test_no_message_is_laid_out_in_the_way_that_forgets_it() -> None:
    """An edit with a LayoutView sends no allowed mentions, whatever the client's are: Discord then reads them all."""
    assert not [path for path in (Path(__file__).parents[1] / "bot").rglob("*.py") if "LayoutView" in path.read_text()]

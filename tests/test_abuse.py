"""People with bad intentions, against the real bot in a simulated Discord: nothing breaks, nobody is pinged.

What they type never comes into the log, nor into the database as anything but text.
"""

import asyncio
import gc
import io
import itertools
import logging
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import discord
import pytest
from discord import app_commands
from sqlalchemy import MetaData, update
from sqlalchemy import text as sql
from sqlalchemy.schema import CreateIndex, CreateTable

from bot.log import STATEMENTS, TALKATIVE, not_awaited, start_log
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineFailed, ReplyTimeout
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store
from persona_chat.store.tables import Messages
from tests.discord_world import World, never_pings, world
from tests.hostile import attacks, message
from tests.torture import count, record

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))
AT_ONCE = 50
CANARY = "-".join(("zanzibar", "bird"))
"""What is looked for in logs; put together, since a trace shows lines of this file."""

pytestmark = pytest.mark.timeout(count(300, 3000))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, at DEBUG, as the bot writes it."""
    written = io.StringIO()
    root, talkative = logging.getLogger(), [logging.getLogger(name) for name in (*TALKATIVE, STATEMENTS)]
    before = [(logger, logger.level) for logger in (root, *talkative)]
    handler = start_log("DEBUG", "json")
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield written
    root.removeHandler(handler)
    for logger, level in before:
        logger.setLevel(level)


def aloud(request: ReplyRequest) -> str:
    """A model that says whatever it was told, and much of it again and again."""
    said = request.dialogue[-1].text
    return " ".join([said] * (4 if len(said) > 700 else 1))


def units(line: str) -> int:
    return len(line.encode("utf-16-le")) // 2


def rows(store: Store, question: str) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sql(question)).all())


def schema_of(store: Store) -> dict[str, list[str]]:
    """Every table, with its columns, keys and indexes."""
    there = MetaData()
    there.reflect(store._engine)
    dialect = store._engine.dialect
    return {
        name: [
            str(CreateTable(table).compile(dialect=dialect)),
            *sorted(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes),
        ]
        for name, table in there.tables.items()
    }


def sent_texts(here: World) -> list[str]:
    bodies = [request.json for request in here.env.http_requests if request.method in ("POST", "PATCH")]
    return [body["content"] for body in bodies if isinstance(body, dict) and body.get("content")]


@pytest.mark.both_databases
async def test_hostile_messages_break_nothing_ping_nobody_and_are_each_answered_once(
    store: Store, settings: Settings, log: io.StringIO
) -> None:
    number = count(300, 10_000)
    rng = Random(1)
    roomy = load_settings(data_dir=settings.data_dir, channel_queue=AT_ONCE)
    posted: list[int] = []
    parts = 0
    async with world(store, roomy, ScriptedEngine(aloud), settle_timeout=120) as here:
        await here.seat(VERA)
        names = [message(rng, "n")[:32] for _ in range(20)]
        people = [
            here.guild.add_member(here.env.create_user(f"p{n}", global_name=name)) for n, name in enumerate(names)
        ]
        while len(posted) < number:
            texts = [message(rng, f"{CANARY}-{n}") for n in range(len(posted), min(number, len(posted) + AT_ONCE))]
            posted += await here.post_at_once(here.talk, [rng.choice(people).id for _ in texts], texts)
            assert never_pings(here.env) == []
            told = sent_texts(here)
            assert all(units(part) <= 2000 for part in told)
            parts += len(told)
            here.env.http_requests.clear()
        answered = [said.reference.message_id for said in here.talk.history() if said.reference is not None]

    states = rows(store, "SELECT state, count(*) FROM messages GROUP BY state")
    assert sorted(answered) == sorted(posted)
    assert [tuple(row) for row in states] == [("answered", number)]
    assert rows(store, "SELECT count(*) FROM replies")[0][0] == number
    lines = log.getvalue()
    assert CANARY not in lines
    assert '"ERROR"' not in lines
    assert parts > number  # so some were cut
    database = store._engine.dialect.name
    record(
        "F1",
        database=database,
        messages=number,
        answered=len(answered),
        parts=parts,
        pings=0,
        logged_texts=0,
        exceptions=0,
    )


@pytest.mark.both_databases
async def test_sql_in_every_text_of_every_command_changes_no_table(store: Store, settings: Settings) -> None:
    rng = Random(2)
    schema = schema_of(store)
    tried = parameters = 0
    async with world(store, settings, ScriptedEngine(aloud), check_errors=False) as here:
        here.bot.admins.add(here.owner.id)
        await here.seat(VERA)
        for command in here.bot.tree.walk_commands():
            if not isinstance(command, app_commands.Command):
                continue
            texts = [option for option in command.parameters if is_text(option)]
            parameters += len(texts)
            for option in texts:
                for attack in attacks(rng, count(4, 500)):
                    here.env.http_requests.clear()
                    given = {other.display_name: simple(other) for other in command.parameters if other.required}
                    given[option.display_name] = fitted(attack, option)
                    shown = await here.owner.slash(here.talk, command.qualified_name, **given)
                    if shown.modal is not None:
                        fields = [part["component"]["custom_id"] for part in shown.modal["components"]]
                        await here.owner.submit_modal(shown, dict.fromkeys(fields, attack))
                    tried += 1
                    assert never_pings(here.env) == []
        for attack in attacks(rng, count(16, 500)):
            await here.guest.send(here.talk, attack)
        assert here.bot.errors == {}

    assert parameters >= 20
    database = store._engine.dialect.name
    assert schema_of(store) == schema
    if database == "sqlite":
        assert rows(store, "PRAGMA integrity_check") == [("ok",)]
    assert rows(store, "SELECT count(*) FROM personas")[0][0] >= 1
    record("F4", database=database, parameters=parameters, commands=tried, schema_changes=0)


def is_text(option: app_commands.Parameter) -> bool:
    return option.type is discord.AppCommandOptionType.string and not option.choices


def fitted(attack: str, option: app_commands.Parameter) -> str:
    most = int(option.max_value or 1000)
    return attack[:most].ljust(int(option.min_value or 1), "x")


def simple(option: app_commands.Parameter) -> Any:
    """A value that a required option takes."""
    if option.choices:
        return option.choices[0].value
    if option.type is discord.AppCommandOptionType.integer:
        return int(option.min_value or 1)
    return "Vera"


@pytest.mark.both_databases
async def test_no_words_and_no_token_come_into_the_log_whatever_fails(
    store: Store, settings: Settings, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = count(100, 1000) if store._engine.dialect.name == "sqlite" else count(40, 200)
    faults: list[Any] = [
        None,
        lambda said: RuntimeError(f"cannot handle {said}"),
        lambda said: KeyError(said),
        lambda _said: EngineFailed(),
        lambda _said: ReplyTimeout(60),
    ]

    def answer(request: ReplyRequest) -> str | Exception:
        said = request.dialogue[-1].text
        fault = faults[len(engine.requests) % len(faults)]
        return said if fault is None else fault(said)

    async def never(*_: object) -> None:
        raise RuntimeError(f"a task of its own, {CANARY}")

    claim, claims = Store.claim, itertools.count(1)

    def now_and_then_refused(self: Store, heard: Heard, parts: Sequence[Heard] = ()) -> bool:
        """PostgreSQL says with a row that it refuses what is in it."""
        claimed = claim(self, heard, parts)
        if next(claims) % 9 == 0:
            with self.writing() as connection:
                connection.execute(update(Messages).values(state=CANARY))
        return claimed

    monkeypatch.setattr(Store, "claim", now_and_then_refused)
    engine = ScriptedEngine(answer)
    async with world(store, settings, engine, check_errors=False, webhooks=True) as here:
        await here.seat(Persona(f"{CANARY} one", f"I am {CANARY}.", (f"I have {CANARY}.",)))
        failing = [("POST", "/channels/*/messages"), ("POST", "/webhooks/*"), ("POST", "/channels/*/typing")]
        for which in range(number):
            if which % 7 == 0:
                method, path = failing[which // 7 % len(failing)]
                here.env.inject_error(method, path, status=(403, 500)[which % 2])
            await here.guest.send(here.talk, f"{CANARY} {which} hello")
            if which % 10 == 0:
                await here.owner.slash(here.talk, "persona set", name=f"{CANARY}-{which}", about=f"{CANARY} {which}")
        monkeypatch.setattr(here.bot.chat.cast, "seated", never)
        await here.owner.slash(here.talk, "status")
        await here.guest.send(here.talk, f"{CANARY} last")
        asyncio.get_running_loop().set_exception_handler(not_awaited)
        lost = asyncio.create_task(never())
        await asyncio.wait((lost,))
        del lost
        gc.collect()
        tokens = {
            part
            for request in here.env.http_requests
            for part in request.path.split("/")
            if part.startswith("simcord_")
        }

    lines = log.getvalue()
    assert '"ERROR"' in lines  # so something was logged
    assert "IntegrityError" in lines
    assert "Traceback" not in lines
    assert CANARY not in lines.lower()
    assert "was never retrieved" in lines
    assert len(tokens) >= 2  # of webhooks and interactions
    assert [token for token in tokens if token in lines] == []
    database = store._engine.dialect.name
    record("F6", database=database, messages=number, log_lines=lines.count("\n"), canaries=0, tokens=0)

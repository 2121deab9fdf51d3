"""What is kept of people on real databases: counted, taken along, and forgotten without a trace."""

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import Connection

from persona_chat import privacy as privacy_module
from persona_chat.chat import Chat
from persona_chat.engine.reply import Follow, Reply, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import PersonaGone, Stopped
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.privacy import Privacy
from persona_chat.process import Process
from persona_chat.settings import Settings
from persona_chat.store.database import DATABASE, PRAGMAS
from persona_chat.store.holdings import Held
from persona_chat.store.jobs import Order, State
from persona_chat.store.store import Store
from persona_chat.store.tables import Base
from tests.postgres import on_sqlite, rows_of

pytestmark = pytest.mark.both_databases


# With fewer digits they would now and then be found in the microseconds of a time.
GUS, OLIVE, SERVER, CHANNEL = 70_000_001, 70_000_002, 50, 100
CANARY = "canary"
VERA = Persona("Vera", "I keep a lighthouse.")


def place(person: int = GUS, channel: int = CHANNEL, guild: int | None = SERVER) -> Place:
    return Place(channel, person, guild)


def seat_vera(store: Store, channel: int = CHANNEL) -> int:
    store.seating.put(Spot(Scope.CHANNEL, channel), Spot(Scope.SERVER, SERVER), VERA, OLIVE)
    seated = store.seating.seated(place(channel=channel))
    assert seated is not None
    return seated.revision_id


def say(store: Store, number: int, person: int, text: str, revision: int, channel: int = CHANNEL) -> None:
    """Something that is said, answered twice, and sent."""
    assert store.claim(Heard(number, place(person, channel), f"name of {person}", text))
    store.save_reply(number, revision, f"You say {text}", None, {"seed": number, "note": text})
    store.mark_sent(number, 0, number + 1_000_000)
    store.answers.add(number, revision, f"Again: {text}", None, {"seed": number})


def chat_of(store: Store, settings: Settings, engine: ScriptedEngine | None = None) -> tuple[Chat, Privacy]:
    chat = Chat(store, engine or ScriptedEngine(lambda request: f"You say {request.dialogue[-1].text}"), settings)
    return chat, Privacy(store, chat, settings.retention_days)


def rows(database: str | Path) -> str:
    """Every value of every table, of a database by its URL or of an SQLite file."""
    url = f"sqlite:///{database}" if isinstance(database, Path) else database
    return repr(rows_of(url, *(f"SELECT * FROM {table}" for table in Base.metadata.tables)))


def files_with(folder: Path, word: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.fixture
def lived(store: Store) -> Store:
    """A database in which two people talked and edited, so that SQLite had to move rows from page to page."""
    revision, other = seat_vera(store), seat_vera(store, CHANNEL + 1)
    chance = random.Random(2)
    for number in range(1, 301):
        person = GUS if number % 2 else OLIVE
        word = CANARY if person == GUS else "kept"
        say(store, number, person, f"{word} {number} " * (number % 23 + 1), revision if number % 3 else other)
        if number > 2:
            earlier = chance.randrange(3, number + 1)
            word = CANARY if earlier % 2 else "kept"
            store.answers.rephrase(earlier, f"{word} {earlier} " * chance.randint(1, 150))
    return store


async def test_forgetting_leaves_no_word_in_any_table_file_or_log(
    lived: Store, settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    picture = f"https://{CANARY}.example/bird.png"
    own = Persona(f"{CANARY}bird", f"I am a {CANARY}.", (f"I sing like a {CANARY}.",), f"{CANARY}!", avatar_url=picture)
    kept = lived.library.create(Spot(Scope.ME, GUS), own, GUS)
    lived.library.edit(kept.id, Persona(f"{CANARY}bird", f"I was a {CANARY}."), GUS)
    lived.seating.seat(Spot(Scope.ME, GUS), kept.id, GUS)
    if on_sqlite(database_url):
        assert files_with(settings.data_dir, CANARY)
    _, privacy = chat_of(lived, settings)
    before = await privacy.about(GUS)

    forgotten = await privacy.forget(GUS)

    assert forgotten.scrubbed
    assert (forgotten.held.messages, forgotten.held.replies, forgotten.held.channels) == (150, 300, 1)
    assert (forgotten.held.personas, forgotten.held.unanswered) == (1, 0)
    assert forgotten.held.messages == before.held.messages
    assert CANARY not in rows(database_url)
    assert f"name of {GUS}" not in rows(database_url)
    assert str(GUS) not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []
    assert files_with(settings.data_dir, f"name of {GUS}") == []
    assert CANARY not in caplog.text
    if on_sqlite(database_url):
        assert (settings.data_dir / f"{DATABASE}-wal").stat().st_size == 0


@pytest.mark.sqlite_only
async def test_what_others_said_stays_as_it_was(lived: Store, settings: Settings) -> None:
    _, privacy = chat_of(lived, settings)
    theirs = await privacy.export(OLIVE)
    await privacy.forget(GUS)
    now = await privacy.export(OLIVE)
    assert json.loads(now.content)["messages"] == json.loads(theirs.content)["messages"]
    seated, past = lived.talk(place(OLIVE), 1000)
    assert seated is not None
    assert {turn.name for turn in past} == {f"name of {OLIVE}", ""}


async def test_forgotten_messages_stay_claimed_and_twice_is_no_error(lived: Store, settings: Settings) -> None:
    _, privacy = chat_of(lived, settings)
    await privacy.forget(GUS)
    assert (await privacy.forget(GUS)).held == Held()
    for number in (1, 151, 299):
        assert not lived.claim(Heard(number, place(), "Gus", f"{CANARY} again"))
        assert lived.answers.find(number) is None
    assert not (await privacy.about(GUS)).held


async def test_a_persona_that_answered_others_is_gone_without_its_words(store: Store, settings: Settings) -> None:
    own = store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.ME, GUS), Persona("Nemo", f"A {CANARY}."), GUS)
    silent = store.library.create(Spot(Scope.ME, GUS), Persona("Silent", CANARY), GUS)
    seated = store.seating.seated(place(OLIVE))
    assert seated is not None
    say(store, 1, OLIVE, "Hello", seated.revision_id)
    say(store, 2, GUS, "Hello", seated.revision_id)
    store.library.edit(own.id, Persona("Nemo", f"Another {CANARY}."), GUS)
    chat, privacy = chat_of(store, settings)
    await chat.start()
    assert chat.cast.is_on(place(OLIVE))

    await privacy.forget(GUS)

    assert not chat.cast.is_on(place(OLIVE))
    assert store.seating.seated(place(OLIVE)) is None
    assert files_with(settings.data_dir, CANARY) == []
    answer = store.answers.find(1)
    assert answer is not None
    assert (answer.version.text, answer.version.persona) == ("Again: Hello", Persona(""))
    for persona_id in (own.id, silent.id):
        assert store.library.get(persona_id) is None
        with pytest.raises(PersonaGone):
            store.library.restore(persona_id)
    assert store.library.list([Spot(Scope.ME, GUS)]) == ()
    assert store.library.create(Spot(Scope.ME, GUS), Persona("Nemo", "A captain."), GUS).number == 1


async def test_a_persons_id_is_taken_from_what_they_did_for_others(
    store: Store, settings: Settings, database_url: str
) -> None:
    revision = seat_vera(store)
    store.library.create(Spot(Scope.SERVER, SERVER), Persona("Nemo", "A captain."), GUS)
    store.seating.seat(Spot(Scope.SERVER, SERVER), 1, GUS)
    store.put_in_service(None, f"/adapter use by {GUS}")
    job = store.jobs.begin(Order("base", (), 1, 1, requested_by=GUS), Process(1, 1.0))
    assert job is not None
    store.jobs.end(job.number, State.FAILED)
    say(store, 1, OLIVE, "Hello", revision)
    store.answers.add(1, revision, f"What a {CANARY} would say.", None, {"edited_by": GUS})
    _, privacy = chat_of(store, settings)
    assert (await privacy.about(GUS)).held.edits == 1

    assert (await privacy.forget(GUS)).held.edits == 1

    assert str(GUS) not in rows(database_url)
    assert store.library.named(Spot(Scope.SERVER, SERVER), "Nemo") is not None, "its words are the server's"
    answer = store.answers.find(1)
    assert answer is not None
    assert answer.version.text == "Again: Hello", "what a person wrote in its place is gone, and the one before counts"


async def test_a_retraining_that_is_under_way_still_knows_who_asked(store: Store, settings: Settings) -> None:
    job = store.jobs.begin(Order("base", (), 1, 1, requested_by=GUS), Process(1, 1.0))
    assert job is not None
    _, privacy = chat_of(store, settings)
    await privacy.forget(GUS)
    under_way = store.jobs.under_way()
    assert under_way is not None
    assert under_way.order.requested_by == GUS


@pytest.mark.sqlite_only
async def test_everything_is_counted(lived: Store, settings: Settings) -> None:
    lived.claim(Heard(900, place(channel=CHANNEL + 5), "Gus", "Never answered."))
    lived.refuse(900, "EngineBusy")
    lived.claim(Heard(901, place(channel=CHANNEL + 6), "Gus", "Being answered."))
    _, privacy = chat_of(lived, settings)
    held = (await privacy.about(GUS)).held
    assert (held.messages, held.replies, held.channels, held.unanswered) == (151, 300, 2, 1)
    assert held.oldest is not None
    assert (await privacy.about(12345)).held == Held()


@pytest.mark.sqlite_only
async def test_an_export_is_json_with_everything(lived: Store, settings: Settings) -> None:
    own = lived.library.create(Spot(Scope.ME, GUS), Persona("Nemo", 'A "captain" — ünïcode\n🦜'), GUS)
    lived.library.edit(own.id, Persona("Nemo", "Another one."), GUS)
    lived.seating.seat(Spot(Scope.ME, GUS), own.id, GUS)
    lived.library.delete(lived.library.create(Spot(Scope.ME, GUS), Persona("Gone", "Deleted."), GUS).id)
    lived.answers.add(2, 1, "As I would say it.", None, {"edited_by": GUS})
    _, privacy = chat_of(lived, settings)
    await privacy.opt_out(GUS)
    export = await privacy.export(GUS)
    data = json.loads(export.content)
    assert (export.left_out, data["complete"], data["person_id"]) == (0, True, GUS)
    assert data["opted_out_at"]
    assert data["chosen_for_everywhere"]["persona"] == "Nemo"
    assert [message["message_id"] for message in data["messages"]] == list(range(1, 301, 2)), "the oldest first"
    first = data["messages"][0]
    assert first["text"] == f"{CANARY} 1 " * 2
    assert first["channel_id"] == CHANNEL
    assert first["said_at"].endswith("+00:00")
    assert [reply["text"][:9] for reply in first["replies"]] == ["You say c", "Again: ca"]
    assert first["replies"][0]["how"] == {"seed": 1, "note": f"{CANARY} 1 " * 2}
    assert {persona["revisions"][0]["persona"]["name"] for persona in data["personas"]} == {"Nemo", "Gone"}
    nemo = next(persona for persona in data["personas"] if persona["revisions"][0]["persona"]["name"] == "Nemo")
    assert [one["persona"]["about"] for one in nemo["revisions"]] == ['A "captain" — ünïcode\n🦜', "Another one."]
    assert [edit["text"] for edit in data["replies_you_rewrote"]] == ["As I would say it."]


async def test_an_export_that_is_too_large_leaves_out_the_oldest_and_says_so(
    lived: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy_module, "EXPORT_BYTES", 40_000)
    _, privacy = chat_of(lived, settings)
    export = await privacy.export(GUS)
    data = json.loads(export.content)
    assert len(export.content) <= 40_000
    assert export.left_out == data["left_out_because_too_large"] == 150 - len(data["messages"])
    assert not data["complete"]
    assert data["messages"][-1]["message_id"] == 299
    assert len(data["messages"]) > 20


async def test_an_export_of_somebody_unknown_is_empty(store: Store, settings: Settings) -> None:
    _, privacy = chat_of(store, settings)
    data = json.loads((await privacy.export(GUS)).content)
    assert (data["messages"], data["personas"], data["chosen_for_everywhere"]) == ([], [], None)


class Waiting(ScriptedEngine):
    """Writes until it is let go on."""

    def __init__(self) -> None:
        super().__init__(lambda request: f"You say {request.dialogue[-1].text}")
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008
        self.begun.set()
        await self.go_on.wait()
        return await super().reply(request, follow)


def answering(chat: Chat, heard: Heard, delivered: list[str]) -> asyncio.Task[None]:
    async def deliver(_persona: Persona, text: str) -> AsyncIterator[int]:
        delivered.append(text)
        yield heard.message_id + 1

    return asyncio.create_task(chat.answer(heard, addressed=True, thinking=nullcontext, deliver=deliver))


async def test_forgetting_ends_replies_that_are_being_written_or_wait(
    store: Store, settings: Settings, database_url: str
) -> None:
    seat_vera(store)
    engine = Waiting()
    chat, privacy = chat_of(store, settings, engine)
    delivered: list[str] = []
    mine = [answering(chat, Heard(number, place(), "Gus", f"{CANARY} {number}"), delivered) for number in (1, 2)]
    await engine.begun.wait()
    theirs = answering(chat, Heard(3, place(OLIVE), "Olive", "Hello"), delivered)
    forgotten = await privacy.forget(GUS)
    engine.go_on.set()
    assert [type(result) for result in await asyncio.gather(*mine, return_exceptions=True)] == [Stopped, Stopped]
    await theirs
    assert delivered == ["You say Hello"]
    assert forgotten.held.unanswered == 1
    assert str(GUS) not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []
    assert not store.claim(Heard(1, place(), "Gus", "once more")), "it was claimed"


@pytest.mark.parametrize("verb", ["claim", "save_reply", "mark_sent"])
async def test_forgetting_waits_for_what_is_just_being_kept(
    store: Store, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    seat_vera(store)
    chat, privacy = chat_of(store, settings)
    begun, original = asyncio.Event(), getattr(store, verb)
    loop = asyncio.get_running_loop()

    def slowly(*given: object) -> object:
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.2)
        return original(*given)

    monkeypatch.setattr(store, verb, slowly)
    task = answering(chat, Heard(1, place(), "Gus", CANARY), [])
    await begun.wait()
    await privacy.forget(GUS)
    await asyncio.gather(task, return_exceptions=True)
    assert CANARY not in rows(database_url)
    assert str(GUS) not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []


async def test_who_opted_out_is_known_after_a_restart_and_after_forgetting(store: Store, settings: Settings) -> None:
    _, privacy = chat_of(store, settings)
    await privacy.opt_out(GUS)
    await privacy.opt_out(GUS)
    await privacy.forget(GUS)
    _, again = chat_of(store, settings)
    await again.start()
    assert again.opted_out(GUS)
    assert not again.opted_out(OLIVE)
    assert (await again.about(GUS)).opted_out_at is not None
    await again.opt_in(GUS)
    await again.opt_in(GUS)
    assert not again.opted_out(GUS)
    assert store.people.opted_out() == frozenset()


@pytest.mark.sqlite_only
async def test_a_file_that_cannot_be_written_anew_is_so_with_the_next_sweep(
    lived: Store,
    settings: Settings,
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, privacy = chat_of(lived, settings)
    monkeypatch.setitem(PRAGMAS, "busy_timeout", "100")  # instead of five seconds
    lived._engine.dispose()
    with closing(sqlite3.connect(settings.data_dir / DATABASE)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM messages").fetchone()  # a reader keeps the log from being emptied
        with_reader = await privacy.forget(GUS)
    assert not with_reader.scrubbed
    assert CANARY not in rows(database_url)
    await privacy.sweep()
    assert files_with(settings.data_dir, CANARY) == []
    assert CANARY not in caplog.text


@pytest.mark.sqlite_only
def test_two_thousand_messages_are_let_go_of_in_many_short_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = seat_vera(store)
    for number in range(1, 2001):
        store.claim(Heard(number, place(), "Gus", f"{CANARY} " * 30))
        store.save_reply(number, revision, "Well. " * 30, None, {"seed": 1})
    left: list[int] = []
    original = store._writing

    @contextmanager
    def counted() -> Iterator[Connection]:
        with original() as connection:
            yield connection
            left.append(connection.exec_driver_sql("SELECT count(*) FROM messages WHERE text <> ''").scalar_one())

    monkeypatch.setattr(store.people, "_writing", counted)
    held, scrubbed = store.people.forget(GUS)
    assert (held.messages, held.replies, scrubbed) == (2000, 2000, True)
    assert left[-1] == 0
    assert all(before - after <= 100 for before, after in pairwise([2000, *left]))

"""What is kept of people is forgotten without a trace, on real databases."""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import pairwise

import pytest
from sqlalchemy import Connection

from persona_chat.chat import Chat
from persona_chat.engine.reply import Follow, Reply, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import PersonaGone, Stopped
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.process import Process
from persona_chat.settings import Settings
from persona_chat.store.database import DATABASE, PRAGMAS
from persona_chat.store.holdings import Held
from persona_chat.store.jobs import Order, State
from persona_chat.store.store import Store
from tests.people import CANARY, CHANNEL, GUS, OLIVE, SERVER, chat_of, files_with, place, rows, say, seat_vera
from tests.postgres import on_sqlite
from tests.torture import count, record

pytestmark = pytest.mark.both_databases


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


async def test_of_many_people_those_who_want_it_are_forgotten_and_no_others(
    store: Store, settings: Settings, database_url: str
) -> None:
    people, revision = count(20, 1000), seat_vera(store)
    for person in range(1, people + 1):
        word = CANARY if person % 2 else "kept"
        say(store, person, 80_000_000 + person, f"{word} {person} " * (person % 7 + 1), revision)
    _, privacy = chat_of(store, settings)
    for person in range(1, people + 1, 2):
        forgotten = await privacy.forget(80_000_000 + person)
        assert forgotten.held.messages == 1
    everything = rows(database_url)
    assert CANARY not in everything
    assert files_with(settings.data_dir, CANARY) == []
    for person in range(1, people + 1):
        assert (str(80_000_000 + person) in everything) is (person % 2 == 0)
        assert (f"kept {person} " in everything) is (person % 2 == 0)
    database = "sqlite" if on_sqlite(database_url) else "postgresql"
    record("G1", database=database, people=people, forgotten=people // 2, traces=0)


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
    original = store.writing

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

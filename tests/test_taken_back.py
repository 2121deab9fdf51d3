"""What people take back is gone, at whatever moment they do it: while it waits, is written, saved, or sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest
from sqlalchemy import text as sql

from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import Stopped
from persona_chat.persona import Persona
from persona_chat.privacy import Privacy
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import echo, world
from tests.test_bursts import ANN, GUS, by, history, say
from tests.test_chat import PLACE, VERA, Gate, Sent, heard, make_chat

pytestmark = pytest.mark.both_databases

CANARY = "canary"


@pytest.fixture
def joining(settings: Settings) -> Settings:
    return settings.model_copy(update={"burst_s": 0.2})


def rows(store: Store) -> str:
    with store._engine.connect() as connection:
        return repr([connection.execute(sql(f"SELECT * FROM {table}")).all() for table in ("messages", "replies")])


async def test_the_first_of_three_of_which_the_second_was_being_answered(store: Store, joining: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, joining, engine)
    rework = Rework(chat, store, joining)
    two = asyncio.create_task(say(chat, sent, [heard(1, CANARY), heard(2, "wait")]))
    await engine.reached.wait()
    third = asyncio.create_task(chat.answer(heard(3, "for me"), thinking=nullcontext, deliver=sent))
    await two
    engine.opened.set()
    await third
    assert sent.texts == [f"Vera heard: {CANARY} wait for me (1)"]
    await rework.delete([1])
    assert (await history(chat))[0] == "wait for me"
    assert await rework.rephrased(2, "Wait", PLACE) is not None
    assert (await history(chat))[0] == "Wait for me"


async def test_the_last_while_it_is_answered(store: Store, joining: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, joining, engine)
    rework = Rework(chat, store, joining)
    two = asyncio.create_task(say(chat, sent, [heard(1, CANARY), heard(2, "wait")]))
    await engine.reached.wait()
    chat.stop(2, keep=False)
    await rework.delete([2])
    engine.opened.set()
    await two
    assert not chat._bursts._open
    await say(chat, sent, [heard(4, "hours later")])
    assert sent.texts == ["Vera heard: hours later (1)"]


async def test_everything_of_a_person_while_it_waits(store: Store, joining: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, joining, engine)
    ann = asyncio.create_task(chat.answer(by(ANN, heard(1, "wait")), thinking=nullcontext, deliver=sent))
    await engine.reached.wait()
    before = asyncio.create_task(say(chat, sent, [heard(2, CANARY)]))
    while 2 not in chat._under_way._begun:  # noqa: ASYNC110  nothing tells of it
        await asyncio.sleep(0)
    await Privacy(store, chat, 30).forget(GUS)
    after = asyncio.create_task(say(chat, sent, [heard(3, "new")]))
    while 3 not in chat._under_way._begun:  # noqa: ASYNC110  nothing tells of it
        await asyncio.sleep(0)
    engine.opened.set()
    await asyncio.gather(ann, before, after)
    assert CANARY not in rows(store)
    assert sent.texts[-1] == "Vera heard: new (3)"


async def test_a_question_while_its_reply_is_saved(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, loop, save = Sent(), asyncio.get_running_loop(), store.save_reply
    chat = await make_chat(store, settings, ScriptedEngine(echo))
    rework = Rework(chat, store, settings)

    async def take_back() -> None:
        chat.stop(1, keep=False)
        await rework.delete([1])

    def meanwhile(*given: object) -> None:
        asyncio.run_coroutine_threadsafe(take_back(), loop).result()
        save(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "save_reply", meanwhile)
    (came,) = await say(chat, sent, [heard(1, CANARY)])
    assert isinstance(came, Stopped)
    assert sent.texts == []
    assert CANARY not in rows(store)


async def test_a_question_while_its_reply_is_sent(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, ScriptedEngine(echo))
    rework = Rework(chat, store, settings)

    async def deliver(_persona: Persona, _reply: str) -> AsyncIterator[int]:
        chat.stop(1, keep=False)
        await rework.delete([1])
        yield 1001

    with pytest.raises(Stopped):
        await chat.answer(heard(1, CANARY), addressed=True, thinking=nullcontext, deliver=deliver)
    assert CANARY not in rows(store)


async def test_in_discord_the_reply_goes_with_it(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        chat, mark = here.bot.chat, store.mark_sent

        def meanwhile(message_id: int, part: int, sent_id: int) -> None:
            chat.stop(message_id, keep=False)
            mark(message_id, part, sent_id)

        monkeypatch.setattr(store, "mark_sent", meanwhile)
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == []
        assert await chat.history(here.place(here.talk), 9) == ()


async def test_what_goes_on_after_somebodys_words_goes_with_them(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, ScriptedEngine(lambda _: "And more."))
    rework = Rework(chat, store, settings)
    await say(chat, Sent(), [heard(1, "Hi")])
    await rework.edit(1, f"{CANARY} words", ANN)
    await rework.go_on(1, PLACE)
    await Privacy(store, chat, 30).forget(ANN)
    assert CANARY not in rows(store)
    assert (await rework.find(1)).version.text == "And more."

"""What a person says in a row is answered together, once, and each message can still be changed and taken back."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import pytest
from sqlalchemy import text as sql

from persona_chat.bursts import MOST, Bursts, together
from persona_chat.chat import Chat
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import Stopped
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.privacy import Privacy
from persona_chat.rework import Rework
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store
from tests.discord_world import World, echo, world
from tests.test_chat import PLACE, SERVER, TALK, VERA, Gate, Sent, heard, make_chat

NEMO = Persona("Nemo", "I am a captain.")
GUS, ANN = 7, 8


@pytest.fixture
def joining(settings: Settings) -> Settings:
    return settings.model_copy(update={"burst_s": 0.2})


async def say(chat: Chat, sent: Sent, messages: Sequence[Heard]) -> list[BaseException | None]:
    """Let all messages come before the first is answered; return what came of each."""
    answers = (chat.answer(message, addressed=True, thinking=nullcontext, deliver=sent) for message in messages)
    return await asyncio.gather(*answers, return_exceptions=True)


async def history(chat: Chat) -> list[str]:
    return [turn.text for turn in await chat.history(PLACE, 100)]


def by(person_id: int, message: Heard) -> Heard:
    return replace(message, place=replace(message.place, person_id=person_id))


def test_who_joins_whom() -> None:
    bursts = Bursts()
    host, guest = 30, 40
    burst, before = bursts.join(heard(1, "Hi"), None, host)
    assert before is None
    assert bursts.join(heard(2, "how are you?"), None, host) == (burst, 1)
    assert bursts.join(heard(2, "how are you?"), None, host) == (burst, None), "an event that came twice"
    assert bursts.join(heard(3, "Vera?"), host, host) == (burst, 2), "to whom it was said already"
    assert bursts.join(heard(4, "Nemo?"), guest, host)[0] is not burst, "said to somebody else"
    assert bursts.join(heard(5, "and more"), None, host)[1] == 4
    assert bursts.join(heard(6, "Vera?"), host, host)[1] is None
    assert bursts.join(by(ANN, heard(7, "I am Ann")), None, host)[1] is None
    last, before = bursts.join(heard(8, "And I am Gus"), None, host)
    assert before is None, "somebody spoke between"
    assert bursts.join(heard(9, "elsewhere", 2), None, host)[1] is None
    bursts.close(last)
    assert bursts.join(heard(10, "again"), None, host)[1] is None
    for number in range(MOST - 1):
        assert bursts.join(heard(11 + number, "more"), None, host)[1] == 10 + number
    assert bursts.join(heard(11 + MOST, "too much"), None, host)[1] is None


def test_the_last_one_says_it_all() -> None:
    first = replace(heard(1, "Hi."), answers=99)
    assert together([first, heard(2, "How are you?")]) == replace(heard(2, "Hi. How are you?"), answers=99)


async def test_three_messages_get_one_answer(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    came = await say(chat, sent, [heard(1, "Hi!"), heard(2, "It is me."), heard(3, "How are you?")])
    assert [type(one) for one in came] == [Stopped, Stopped, type(None)]
    assert sent.texts == ["Vera heard: Hi! It is me. How are you? (1)"]
    assert await history(chat) == ["Hi! It is me. How are you?", sent.texts[0]]
    assert not chat._bursts._open
    for number in (1, 2, 3):
        assert not store.claim(heard(number, "once more")), "an event that Discord replays"


async def test_the_one_that_is_being_written_is_ended_and_written_anew(store: Store, joining: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, joining, engine)
    first = asyncio.create_task(chat.answer(heard(1, "wait"), thinking=nullcontext, deliver=sent))
    await engine.reached.wait()
    second = asyncio.create_task(chat.answer(heard(2, "for me"), thinking=nullcontext, deliver=sent))
    with pytest.raises(Stopped):
        await first
    engine.opened.set()
    await second
    assert len(engine.cancelled) == 1
    assert sent.texts == ["Vera heard: wait for me (1)"]
    assert not chat._bursts._open


async def test_what_comes_after_the_answer_is_another_turn(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    await say(chat, sent, [heard(1, "Hi!")])
    await say(chat, sent, [heard(2, "And?")])
    assert sent.texts == ["Vera heard: Hi! (1)", "Vera heard: And? (3)"]


async def test_two_people_are_answered_one_by_one(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    await say(chat, sent, [heard(1, "I am Gus"), by(ANN, heard(2, "I am Ann")), heard(3, "Hello Ann")])
    assert sent.texts == ["Vera heard: I am Gus (1)", "Vera heard: I am Ann (3)", "Vera heard: Hello Ann (5)"]


async def test_without_a_wait_each_is_answered_by_itself(store: Store, settings: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, settings, ScriptedEngine(echo))
    await say(chat, sent, [heard(1, "Hi!"), heard(2, "It is me.")])
    assert len(sent.texts) == 2
    assert load_settings().burst_s == 0, "as the tests have it"


async def test_each_can_be_said_otherwise_and_taken_back(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    rework = Rework(chat, store, joining)
    await say(chat, sent, [heard(1, "one"), heard(2, "two"), heard(3, "three")])
    changed = await rework.rephrased(2, "2", PLACE)
    assert changed is not None
    assert changed.version.text == "Vera heard: one 2 three (1)"
    assert await rework.delete([1]) == ()
    assert (await history(chat))[0] == "2 three"
    assert await rework.delete([3]) == (), "the last one too"
    changed = await rework.rephrased(2, "only this", PLACE)
    assert changed is not None
    assert changed.version.text == "Vera heard: only this (1)"
    assert await rework.rephrased(3, "gone", PLACE) is None
    (gone,) = await rework.delete([2])
    assert gone.message_id == 3, "the answer was the last one's"
    assert await history(chat) == []


async def test_one_taken_back_while_it_waits_is_left_out(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    said = [heard(1, "one"), heard(2, "two"), heard(3, "three")]
    await asyncio.gather(say(chat, sent, said), taken_back(chat, 1, 3))
    assert sent.texts == []
    await say(chat, sent, [heard(4, "four")])
    assert sent.texts == ["Vera heard: four (1)"]
    assert not chat._bursts._open


async def taken_back(chat: Chat, *ids: int) -> None:
    await asyncio.sleep(0)
    for message_id in ids:
        chat.stop(message_id, keep=False)


async def test_one_said_otherwise_while_it_waits_is_read_so(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    rework = Rework(chat, store, joining)

    async def say_otherwise() -> None:
        await asyncio.sleep(0)
        assert await rework.rephrased(1, "ONE", PLACE) is None

    await asyncio.gather(say(chat, sent, [heard(1, "one"), heard(2, "two")]), say_otherwise())
    assert sent.texts == ["Vera heard: ONE two (1)"]


async def test_one_taken_back_while_the_reply_is_written_is_not_remembered(store: Store, joining: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, joining, engine)
    rework = Rework(chat, store, joining)
    answers = asyncio.create_task(say(chat, sent, [heard(1, "secret"), heard(2, "wait")]))
    await engine.reached.wait()
    chat.stop(1, keep=False)
    await rework.delete([1])
    engine.opened.set()
    await answers
    assert await history(chat) == ["wait", "Vera heard: secret wait (1)"]


async def test_what_is_kept_on_stopping_is_not_said_twice(store: Store, joining: Settings) -> None:
    class Slow(ScriptedEngine):
        async def reply(self, request: ReplyRequest, follow=None):  # type: ignore[no-untyped-def,override]
            follow.grown("So far")
            begun.set()
            await asyncio.sleep(30 if "slow" in request.dialogue[-1].text else 0)
            return await super().reply(request, follow)

    sent, begun = Sent(), asyncio.Event()
    chat = await make_chat(store, joining, Slow(echo))
    first = asyncio.create_task(say(chat, sent, [heard(1, "slow")]))
    await begun.wait()
    assert chat.stop(1, keep=True)
    await asyncio.gather(first, say(chat, sent, [heard(2, "next")]))
    assert sent.texts == ["So far", "Vera heard: next (3)"]


async def test_forgetting_reaches_every_part(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(lambda _: "Aha."))
    await say(chat, sent, [heard(1, "canary one"), heard(2, "canary two")])
    await Privacy(store, chat, 30).forget(GUS)
    with store._engine.connect() as connection:
        rows = connection.execute(sql("SELECT * FROM messages")).all()
    assert len(rows) == 2
    assert "canary" not in repr(rows)


async def test_a_burst_that_gets_no_reply_keeps_no_words(store: Store, joining: Settings) -> None:
    chat = await make_chat(store, joining, ScriptedEngine(lambda _: Stopped()))
    await say(chat, Sent(), [heard(1, "canary one"), heard(2, "canary two")])
    with store._engine.connect() as connection:
        assert "canary" not in repr(connection.execute(sql("SELECT * FROM messages")).all())


async def test_whom_it_calls_answers_all_of_it(store: Store, joining: Settings) -> None:
    sent = Sent()
    chat = await make_chat(store, joining, ScriptedEngine(echo))
    kept = await chat.cast.create(SERVER, NEMO, GUS)
    await chat.cast.invite(PLACE, Scope.CHANNEL, kept, "")
    await say(chat, sent, [heard(1, "Hello"), heard(2, "Nemo, is it you?")])
    assert sent.texts == ["Vera heard: Hello (1)", "Nemo heard: Nemo, is it you? (1)"]
    await say(chat, sent, [heard(3, "Nemo, hello!"), heard(4, "It is me")])
    assert sent.texts[2:] == ["Nemo heard: Nemo, hello! It is me (3)"]


async def replies(here: World) -> list[tuple[str, int | None]]:
    me = here.bot.user
    assert me is not None
    said = [message for message in here.talk.history() if message.author.id == me.id]
    return [(message.content, message.reference.message_id if message.reference else None) for message in said]


async def test_in_discord_the_last_message_is_replied_to(store: Store, joining: Settings) -> None:
    async with world(store, joining) as here:
        await here.seat(VERA)
        one, two = await here.post_at_once(here.talk, [here.guest.id] * 2, ["Hi!", "How are you?"])
        assert await replies(here) == [("Vera heard: Hi! How are you? (1)", two)]
        messages = {message.id: message for message in here.talk.history()}
        await here.guest.edit(messages[one], "Hello!")
        assert await replies(here) == [("Vera heard: Hello! How are you? (1)", two)]
        await here.guest.delete(messages[two])
        assert (await here.bot.chat.history(here.place(here.talk), 10))[0].text == "Hello!"


async def test_in_discord_a_message_that_is_put_in_brackets_while_it_waits_is_not_answered(
    store: Store, joining: Settings
) -> None:
    async with world(store, joining) as here:
        await here.seat(VERA)
        posted = here.env.backend.create_message(here.talk.id, here.guest.id, "Where is the tea?")
        await asyncio.sleep(0)
        messages = {message.id: message for message in here.talk.history()}
        await here.guest.edit(messages[posted.id], "(Where is the tea?)")
        assert await replies(here) == []
        assert await here.bot.chat.history(here.place(here.talk), 10) == ()
        await here.post_at_once(here.talk, [here.guest.id], ["Hello"])
        assert [words for words, _ in await replies(here)] == ["Vera heard: Hello (1)"]


def test_what_earlier_releases_kept_can_be_said_otherwise(store: Store) -> None:
    place = Place(TALK, GUS, SERVER.id)
    store.seating.put(Spot(Scope.CHANNEL, TALK), SERVER, VERA)
    seated, _ = store.talk(place, 10)
    assert seated is not None
    assert store.claim(heard(1, "Hello"))
    store.save_reply(1, seated.revision_id, "Hi.")
    store.answers.rephrase(1, "Hello!")
    assert [turn.text for turn in store.talk(place, 10)[1]] == ["Hello!", "Hi."]

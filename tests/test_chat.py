"""One message in, one reply out, without Discord: order, independence of channels, cancelling, and what is kept."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import pytest

from persona_chat.chat import Chat
from persona_chat.engine.reply import Follow, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineBusy, EngineFailed, PersonaTooLong, ReplyTimeout
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.settings import Settings, load_settings
from persona_chat.store.library import Kept
from persona_chat.store.store import Store
from tests.discord_world import echo

VERA = Persona("Vera", "I keep a lighthouse.")
TALK, OTHER = 1, 2
SERVER = Spot(Scope.SERVER, 5)
PLACE = Place(TALK, 7, SERVER.id)


class Gate(ScriptedEngine):
    """An engine whose replies in one channel wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()):  # type: ignore[no-untyped-def]  # noqa: B008
        if "wait" in request.dialogue[-1].text:
            self.reached.set()
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.cancelled.append(request)
                raise
        return await super().reply(request, follow)


class Sent:
    """Where replies go instead of Discord."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def __call__(self, persona: Persona, text: str) -> AsyncIterator[int]:
        self.texts.append(text)
        yield 9000 + len(self.texts)


async def make_chat(store: Store, settings: Settings, engine: ScriptedEngine) -> Chat:
    for channel in (TALK, OTHER):
        store.seating.put(Spot(Scope.CHANNEL, channel), SERVER, VERA)
    chat = Chat(store, engine, settings)
    await chat.start()
    return chat


def heard(message_id: int, text: str, channel_id: int = TALK) -> Heard:
    return Heard(message_id, Place(channel_id, 7, SERVER.id), "Gus", text)


async def test_a_channel_does_not_wait_for_another_one(store: Store, settings: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, settings, engine)
    slow = asyncio.create_task(chat.answer(heard(1, "wait", TALK), thinking=nullcontext, deliver=sent))
    async with asyncio.timeout(10):
        await chat.answer(heard(2, "quick", OTHER), thinking=nullcontext, deliver=sent)
    assert sent.texts == ["Vera heard: quick (1)"]
    engine.opened.set()
    await slow
    assert sent.texts[1:] == ["Vera heard: wait (1)"]


async def test_a_message_waits_for_the_earlier_one_of_its_channel(store: Store, settings: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, settings, engine)
    answers = [
        asyncio.create_task(chat.answer(heard(number, text), thinking=nullcontext, deliver=sent))
        for number, text in enumerate(("wait", "second", "third"), 1)
    ]
    await asyncio.sleep(0.1)
    assert sent.texts == []
    engine.opened.set()
    await asyncio.gather(*answers)
    assert sent.texts == ["Vera heard: wait (1)", "Vera heard: second (3)", "Vera heard: third (5)"]


async def test_a_cancelled_answer_lets_the_next_one_go(store: Store, settings: Settings) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, settings, engine)
    given_up = asyncio.create_task(chat.answer(heard(1, "wait"), thinking=nullcontext, deliver=sent))
    after = asyncio.create_task(chat.answer(heard(2, "next"), thinking=nullcontext, deliver=sent))
    await engine.reached.wait()
    given_up.cancel()
    await after
    assert given_up.cancelled()
    assert len(engine.cancelled) == 1
    assert sent.texts == ["Vera heard: next (1)"]


async def test_too_many_waiting_in_one_channel_are_told_and_leave_nothing_behind(
    store: Store, settings: Settings
) -> None:
    engine, sent = Gate(), Sent()
    chat = await make_chat(store, load_settings(data_dir=settings.data_dir, channel_queue=1), engine)
    first = asyncio.create_task(chat.answer(heard(1, "wait"), thinking=nullcontext, deliver=sent))
    await engine.reached.wait()
    with pytest.raises(EngineBusy):
        await chat.answer(heard(2, "too many"), thinking=nullcontext, deliver=sent)
    engine.opened.set()
    await first
    await chat.answer(heard(2, "again"), thinking=nullcontext, deliver=sent)
    assert sent.texts[-1] == "Vera heard: again (3)"


@pytest.mark.parametrize("error", [EngineBusy(), ReplyTimeout(60), EngineFailed()])
async def test_what_gets_no_reply_is_noted_and_not_remembered(
    store: Store, settings: Settings, error: Exception
) -> None:
    sent = Sent()
    chat = await make_chat(store, settings, ScriptedEngine(lambda _request: error))
    with pytest.raises(type(error)):
        await chat.answer(heard(1, "Hello"), thinking=nullcontext, deliver=sent)
    assert sent.texts == []
    assert await chat.history(PLACE, 10) == ()
    assert not store.claim(heard(1, "Hello"))


async def test_it_thinks_only_while_the_model_works(store: Store, settings: Settings) -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def thinking(_persona: Persona) -> AsyncIterator[None]:
        steps.append("thinks")
        yield
        steps.append("has thought")

    async def deliver(_persona: Persona, _text: str) -> AsyncIterator[int]:
        steps.append("sends")
        yield 1

    chat = await make_chat(store, settings, ScriptedEngine(echo))
    await chat.answer(heard(1, "Hello"), thinking=thinking, deliver=deliver)
    await chat.answer(heard(1, "Hello"), thinking=thinking, deliver=deliver)
    assert steps == ["thinks", "has thought", "sends"]


async def test_a_persona_that_is_too_long_changes_nothing(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, ScriptedEngine(echo, persona_tokens=100))
    with pytest.raises(PersonaTooLong):
        await chat.cast.put(PLACE, Scope.CHANNEL, Persona("Long", "word " * 200))
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    assert seated.persona == VERA


async def test_setting_and_clearing_at_once_leave_one_truth(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await make_chat(store, settings, ScriptedEngine(echo))
    clear = store.seating.unseat

    def slowly(spot: Spot) -> Kept | None:
        time.sleep(0.05)
        return clear(spot)

    monkeypatch.setattr(store.seating, "unseat", slowly)
    for _ in range(5):
        await asyncio.gather(chat.cast.unseat(PLACE, Scope.CHANNEL), chat.cast.put(PLACE, Scope.CHANNEL, VERA))
        assert chat.cast.is_on(PLACE) == (store.seating.seated(PLACE) is not None)
        await asyncio.gather(chat.cast.put(PLACE, Scope.CHANNEL, VERA), chat.cast.unseat(PLACE, Scope.CHANNEL))
        assert chat.cast.is_on(PLACE) == (store.seating.seated(PLACE) is not None)


async def test_clearing_turns_the_channel_off_and_the_persona_goes_on_where_it_left(
    store: Store, settings: Settings
) -> None:
    sent = Sent()
    chat = await make_chat(store, settings, ScriptedEngine(echo))
    await chat.answer(heard(1, "before"), thinking=nullcontext, deliver=sent)
    before = await chat.cast.unseat(PLACE, Scope.CHANNEL)
    assert before is not None
    assert before.persona == VERA
    assert not chat.cast.is_on(PLACE)
    await chat.cast.put(PLACE, Scope.CHANNEL, Persona("Nemo", "A captain."))
    await chat.answer(heard(2, "who are you?"), thinking=nullcontext, deliver=sent)
    await chat.cast.put(PLACE, Scope.CHANNEL, VERA)
    await chat.answer(heard(3, "after"), thinking=nullcontext, deliver=sent)
    assert sent.texts[1:] == ["Nemo heard: who are you? (1)", "Vera heard: after (3)"]

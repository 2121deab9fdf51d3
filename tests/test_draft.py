"""A reply that takes long is shown while it is written, and can be stopped; a question that is taken back gets none."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bot import draft
from bot.demo import Waits
from persona_chat import template
from persona_chat.engine.reply import Follow, Reply, ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, never_pings, world

LONG = "The lamp is lit at dusk and burns until the sun is up again over the sea."
VERA = Persona("Vera", "I keep a lighthouse.", ())


class Speaking(ScriptedEngine):
    """Says its words one after the other, from a thread as a model does, and ends when nobody wants them."""

    def __init__(self, seconds_a_word: float, waits: Waits) -> None:
        super().__init__(lambda request: LONG if "long" in request.dialogue[-1].text else "Yes.")
        self._seconds = seconds_a_word
        self._waits = waits

    async def reply(self, request: ReplyRequest, follow: Follow = Follow()) -> Reply:  # noqa: B008
        loop, stop = asyncio.get_running_loop(), threading.Event()
        done: asyncio.Future[None] = loop.create_future()
        words = str(self._replies(request)).split()

        def speak() -> None:
            if follow.placed is not None:
                loop.call_soon_threadsafe(follow.placed, 5)
            for count in range(1, len(words) + 1):
                if stop.wait(self._seconds):
                    return
                if follow.grown is not None:
                    loop.call_soon_threadsafe(follow.grown, " ".join(words[:count]))
            loop.call_soon_threadsafe(lambda: done.done() or done.set_result(None))

        threading.Thread(target=speak).start()
        try:
            await self._waits(done)
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        finally:
            stop.set()
        return await super().reply(request)


@asynccontextmanager
async def speaking(
    store: Store, settings: Settings, seconds: float, *, webhooks: bool = False
) -> AsyncIterator[tuple[World, Speaking]]:
    waits = Waits()
    engine = Speaking(seconds, waits)
    # The typing indicator sleeps for 5 s, which is beyond what the simulation waits for.
    async with world(store, settings, engine, settle_timeout=4, waits=waits, webhooks=webhooks) as here:
        await here.seat(VERA)
        yield here, engine


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "AFTER_S", 0.2)
    monkeypatch.setattr(draft, "EVERY_S", 0.1)


def shown(here: World) -> list[str]:
    """Every text that the bot posted or made of a message, in order."""
    bodies = [(request.method, request.json) for request in here.env.http_requests if isinstance(request.json, dict)]
    return [body["content"] for method, body in bodies if method in ("POST", "PATCH") and body.get("content")]


async def until(condition: Callable[[], object]) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


async def over(here: World) -> None:
    await until(lambda: not here.bot.chat._under_way._begun)
    await here.env.settle()


async def test_a_long_reply_grows_in_one_message_that_pings_nobody(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.06) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await over(here)
        texts = shown(here)
        assert here.said(here.talk) == [LONG]
        assert texts[0] == "*5th in line …*"
        assert len(texts) > 4
        assert texts[-1] == LONG
        assert all(text.endswith(draft.GOES_ON) for text in texts[1:-1])
        assert all(LONG.startswith(text.removesuffix(draft.GOES_ON)) for text in texts[1:])
        assert never_pings(here.env) == []
        assert "reply:stop" not in str(here.talk.history()[-1].components), "nothing is left to stop"
        assert [turn.text for turn in await here.bot.chat.history(here.place(here.talk), 9)] == ["a long one", LONG]


async def test_a_short_reply_comes_whole(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "FAR_BACK", 9)
    async with speaking(store, settings, 0.01) as (here, _):
        await here.guest.send(here.talk, "a short one")
        await over(here)
        assert shown(here) == here.said(here.talk) == ["Yes."]


async def test_without_streaming_a_reply_comes_whole(store: Store, settings: Settings) -> None:
    async with speaking(store, settings.model_copy(update={"stream": False}), 0.03) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await over(here)
        assert shown(here) == [LONG]


async def test_who_asked_stops_the_reply_where_it_is_and_nobody_else_does(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.3) as (here, engine):
        await here.guest.send(here.talk, "a long one")
        await until(lambda: len(shown(here)) > 2)
        sent = here.talk.history()[-1]
        stranger = here.guild.add_member(here.env.create_user("stranger"))
        await stranger.click(sent, label="Stop")
        assert here.bot.chat._under_way._begun
        await here.guest.click(sent, label="Stop")
        await over(here)
        said = here.said(here.talk)
        assert len(said) == 1
        assert LONG.startswith(said[0])
        assert said[0] != LONG
        assert [turn.text for turn in await here.bot.chat.history(here.place(here.talk), 9)] == ["a long one", said[0]]
        assert len(engine.cancelled) == 1


async def test_a_draft_that_somebody_deletes_costs_no_reply(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.2) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await until(lambda: len(shown(here)) > 2)
        await here.owner.delete(here.talk.history()[-1])
        await over(here)
        assert here.said(here.talk) == [LONG]
        assert [turn.text for turn in await here.bot.chat.history(here.place(here.talk), 9)] == ["a long one", LONG]


async def test_a_question_that_is_taken_back_gets_no_answer(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.3) as (here, engine):
        first = await here.guest.send(here.talk, "a long one")
        second = await here.guest.send(here.talk, "and another long one")
        await until(lambda: len(shown(here)) > 1)
        for message in (second, first):
            await here.guest.delete(message)
        await over(here)
        assert here.said(here.talk) == []
        assert len(engine.cancelled) == 1
        assert engine.requests == []
        assert await here.bot.chat.history(here.place(here.talk), 9) == ()


def test_what_is_shown_grows_and_never_holds_a_part_of_what_ends_a_reply() -> None:
    for text, ending in (
        (" I light the lamp. Persons in Paris read.", "\nPersona A: no"),
        (" I light the lamp.", " Persona A: And then?"),
        (' I say "yes" to that.', '"\n    "Persona A: Oh'),
        (" Read it,", " Reference: none"),
        (" Rest well.", '"]}\n'),
    ):
        whole, before = text + ending, ""
        for end in range(1, len(whole) + 1):
            seen = template.shown(whole[:end])
            assert seen.startswith(before) or not seen, (seen, before)
            assert template.read_reply(whole).startswith(seen), (whole[:end], seen)
            before = seen or before
        assert len(before) > len(text.strip()) - 10


def test_ordinals() -> None:
    numbers = (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)
    assert [draft.ordinal(n) for n in numbers] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "102nd",
        "111th",
    ]

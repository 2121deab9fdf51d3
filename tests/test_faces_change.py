"""What a persona said with its own face is changed, taken away, and written in front of people, through the webhook."""

import pytest

from bot import draft
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import fill, never_pings, told, world
from tests.test_draft import LONG, over, shown, speaking, until
from tests.test_faces import VERA, last, personas, remembered
from tests.test_replies import labels, numbered

pytestmark = pytest.mark.usefixtures("webhook_discord")


async def test_versions_edits_and_deletions_work_through_the_webhook(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        question = await here.guest.send(here.talk, "Hello")
        assert labels(last(here.talk)) == ["🔁", "⋯"]
        await here.guest.click(last(here.talk), label="🔁")
        assert labels(last(here.talk)) == ["◀", "2/2", "▶", "🔁", "⋯"]
        await here.guest.click(last(here.talk), label="◀")
        assert personas(here.talk) == [("Vera", "Hello -> 1")]
        form = await here.guest.context_menu(here.talk, "Edit this reply", last(here.talk))
        await fill(here.guest, form, "Ahoy!")
        assert personas(here.talk) == [("Vera", "Ahoy!")]
        await here.guest.edit(question, "Hello?")
        assert personas(here.talk) == [("Vera", "Hello? -> 3")]
        (done,) = told(await here.guest.context_menu(here.talk, "Delete this reply", last(here.talk)))
        assert "forgotten" in done.content
        assert (personas(here.talk), await remembered(here, here.talk)) == ([], [])
        assert never_pings(here.env) == []


async def test_what_is_deleted_takes_its_answer_along_and_is_forgotten(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        second = await here.guest.send(here.talk, "two")
        await here.guest.delete(second)
        assert personas(here.talk) == [("Vera", "one -> 1")]
        await here.owner.delete(last(here.talk))
        assert await remembered(here, here.talk) == []


async def test_a_long_reply_comes_in_parts_that_all_have_the_face(store: Store, settings: Settings) -> None:
    long = " ".join(f"word{number}" for number in range(400))
    replies = iter([long, "short"])
    async with world(store, settings, ScriptedEngine(lambda _request: next(replies)), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        assert [name for name, _ in personas(here.talk)] == ["Vera", "Vera"]
        assert " ".join(words for _, words in personas(here.talk)) == long
        await here.guest.click(here.talk.history()[1], label="🔁")
        assert personas(here.talk) == [("Vera", "short")]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "AFTER_S", 0.2)
    monkeypatch.setattr(draft, "EVERY_S", 0.1)


@pytest.mark.usefixtures("quick")
async def test_a_long_reply_grows_through_the_webhook(store: Store, settings: Settings) -> None:
    async with speaking(store, settings.model_copy(update={"reply_buttons": False}), 0.06, webhooks=True) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await over(here)
        assert personas(here.talk) == [("Vera", LONG)]
        assert here.said(here.talk) == []
        assert len(shown(here)) > 4
        assert last(here.talk).components == [], "nothing is left to stop"
        assert await remembered(here, here.talk) == ["a long one", LONG]
        assert never_pings(here.env) == []


@pytest.mark.usefixtures("quick")
async def test_the_stop_button_of_a_draft_works_there_too(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.3, webhooks=True) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await until(lambda: len(shown(here)) > 2)
        await here.guest.click(last(here.talk), label="Stop")
        await over(here)
        ((name, said),) = personas(here.talk)
        assert name == "Vera"
        assert LONG.startswith(said)
        assert said != LONG


@pytest.mark.usefixtures("quick")
async def test_a_draft_whose_webhook_is_deleted_costs_no_reply(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.2, webhooks=True) as (here, _):
        await here.guest.send(here.talk, "a long one")
        await until(lambda: len(shown(here)) > 2)
        here.env.backend.delete_webhook(next(iter(here.env.backend.webhooks)))
        await over(here)
        assert personas(here.talk) == [("Vera", f"-# ↪ Gus\n{LONG}")], "the draft stood between"
        assert await remembered(here, here.talk) == ["a long one", LONG]

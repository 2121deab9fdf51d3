"""How a persona's words come about in Discord: by a form, tried and changed, by a card, and how they go back."""

import json

import pytest

from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import fill, never_pings, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


async def test_a_persona_is_made_tried_changed_saved_and_set(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        form = await here.owner.slash(here.talk, "persona create")
        draft = await fill(here.owner, form, "Vera", "I keep a lighthouse.", "I have a parrot.", "Mind the stairs!")
        assert draft.response is not None
        assert draft.response.ephemeral
        assert "Not saved yet" in draft.response.content
        assert draft.response.embeds[0].footer.text.startswith(f"{await here.bot.chat.cast.check(VERA)} tokens")

        line = await here.owner.click(draft.response, label="Try it")
        tried = await fill(here.owner, line, "Who are you?")
        assert [(said.content, said.ephemeral) for said in told(tried)] == [
            ("> Who are you?\n**Vera**: Vera heard: Who are you? (1)", True)
        ]
        again = await here.owner.click(draft.response, label="Change")
        assert "I have a parrot." in str(again.modal)
        await fill(here.owner, again, "Vera", "I keep a lighthouse.", "I have two parrots.", "Mind the stairs!")
        assert await here.bot.chat.cast.list(here.place(here.talk).home) == ()

        saved = await here.owner.click(draft.response, label="Save")
        assert "**Vera** is saved" in told(saved)[0].content
        (choice,) = await here.owner.autocomplete(here.talk, "persona set", "name", "ve")
        done = await here.owner.slash(here.talk, "persona set", name=choice["value"])
        assert [said.content.splitlines()[0] for said in told(done)] == [
            "**Vera** is talking here now.",
            "Mind the stairs!",
        ]
        assert await here.talks_in(here.talk) == Persona(
            "Vera", "I keep a lighthouse.", ("I have two parrots.",), "Mind the stairs!"
        )


async def test_what_was_typed_is_not_lost_when_it_cannot_be_used(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        form = await here.owner.slash(here.talk, "persona create")
        refused = await fill(here.owner, form, "Nemo", "", "")
        (line,) = told(refused)
        assert "Say something about the persona" in line.content
        again = await here.owner.click(line, label="Change")
        assert "Nemo" in str(again.modal)
        long = await fill(here.owner, again, "Vera", "word " * 700)
        (draft,) = told(long)
        assert "tokens and 640 fit" in draft.content
        await here.owner.click(draft, label="Save")
        shorter = await here.owner.click(draft, label="Change")
        await fill(here.owner, shorter, "Vera", "I am another one.")
        taken = await here.owner.click(draft, label="Save")
        assert "There is a persona called Vera already" in told(taken)[-1].content
        other = await here.owner.click(draft, label="Change")
        await fill(here.owner, other, "Nemo", "I am another one.")
        await here.owner.click(draft, label="Save")
        names = [kept.persona.name for kept in await here.bot.chat.cast.list(here.place(here.talk).home)]
        assert names == ["Nemo", "Vera"]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_words_are_edited_looked_back_at_and_brought_back(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        form = await here.owner.slash(here.talk, "persona edit", name="vera")
        (draft,) = told(await fill(here.owner, form, "Vera", "I keep a lighthouse.", "I have no parrot any more."))
        await here.owner.click(draft, label="Save")
        assert await here.talks_in(here.talk) == Persona("Vera", VERA.about, ("I have no parrot any more.",))

        (past,) = told(await here.owner.slash(here.talk, "persona history", name="Vera"))
        lines = (past.embeds[0].description or "").splitlines()
        assert [line.split(" · ")[0] for line in lines] == ["`2`", "`1`"]
        assert lines[0].endswith("1 fact new, 1 fact gone")
        assert lines[1].endswith("first words")

        await here.owner.slash(here.talk, "persona undo", name="Vera")
        assert await here.talks_in(here.talk) == VERA
        await here.owner.slash(here.talk, "persona undo", name="Vera", to=2)
        assert await here.talks_in(here.talk) != VERA
        for wrong, says in (({"to": 9}, "no revision 9"), ({}, "as in version 1 again"), ({}, "no earlier words")):
            (line,) = told(await here.owner.slash(here.talk, "persona undo", name="Vera", **wrong))
            assert says in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_persona_is_deleted_after_a_question_and_that_can_be_undone(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        (asked,) = told(await here.owner.slash(here.talk, "persona delete", name="Vera"))
        await here.owner.click(asked, label="Keep")
        assert await here.talks_in(here.talk) == VERA
        (asked,) = told(await here.owner.slash(here.talk, "persona delete", name="Vera"))
        (gone,) = told(await here.owner.click(asked, label="Delete"))
        assert "**Vera** is deleted" in gone.content
        await here.guest.send(here.talk, "Still there?")
        assert here.said(here.talk) == []
        (back,) = told(await here.owner.click(gone, label="Undo"))
        assert "**Vera** is back" in back.content
        await here.guest.send(here.talk, "And now?")
        assert here.said(here.talk) == ["Vera heard: And now? (1)"]


@pytest.mark.parametrize("kind", ["png", "json"])
async def test_a_persona_travels_as_a_card(store: Store, settings: Settings, kind: str) -> None:
    persona = Persona("Vera Ö.", "I keep a lighthouse.", ("I have a parrot.",), "Mind the stairs!")
    async with world(store, settings) as here:
        await here.seat(persona)
        (card,) = told(await here.guest.slash(here.talk, "persona export", name=persona.name, kind=kind))
        assert card.ephemeral
        (file,) = card.attachments
        assert file.filename == f"Vera-Ö.{kind}"
        attached = (file.filename, await file.read())
        (draft,) = told(await here.guest.slash(here.talk, "persona import", file=attached, for_me=True))
        await here.guest.click(draft, label="Save")
        (mine,) = await here.bot.chat.cast.list(here.place(here.talk).mine)
        assert mine.persona == persona


async def test_a_card_is_fitted_and_says_what_it_left_out(store: Store, settings: Settings) -> None:
    card = {
        "name": "Kit",
        "description": "Kit is a fox. She lives in a wood. She loves @everyone.",
        "personality": "sly",
        "scenario": "A party.",
        "first_mes": "Hi {{user}}!",
        "mes_example": "",
    }
    async with world(store, settings) as here:
        attached = ("kit.json", json.dumps(card).encode())
        (draft,) = told(await here.owner.slash(here.talk, "persona import", file=attached))
        assert "- the scenario" in draft.content
        assert "I live in a wood" in (draft.embeds[0].description or "")
        assert "tokens" in (draft.embeds[0].footer.text or "")
        assert never_pings(here.env) == []


@pytest.mark.parametrize("data", [b"", b"not a card", b"[" * 100_000, b"\x89PNG\r\n\x1a\n", b'{"name": 5}'])
async def test_a_file_that_is_no_card_is_refused(store: Store, settings: Settings, data: bytes) -> None:
    async with world(store, settings) as here:
        (line,) = told(await here.owner.slash(here.talk, "persona import", file=("card.json", data)))
        assert line.ephemeral
        assert len(line.content) > 20
        assert "wrong on my side" not in line.content
        here.env._errors_acknowledged = here.env.error_cursor

"""The filter of words in Discord: what is not read, what is not said, and that nothing of either is kept or shown."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot import draft
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import DATABASE
from persona_chat.store.store import Store
from persona_chat.store.tables import Base
from persona_chat.word_filter import Filtering, Side
from tests.discord_world import World, echo, fill, never_pings, told, world
from tests.test_draft import LONG, over, shown, speaking

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))
WORD = "quibblefruit"
NOT_READ = "There is a word in that which this server's filter stops"


def kept(settings: Settings) -> str:
    """Every value of every table but that of the filter itself."""
    path: Path = settings.data_dir / DATABASE
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for name in Base.metadata.tables if name != "filter_words"]
        return repr([connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables])


async def filtered(here: World, side: Side, *words: str) -> None:
    await here.bot.chat.moderation.filter(here.guild.id, Filtering(side, words=words or (WORD,)))


def in_turn(*replies: str) -> ScriptedEngine:
    """An engine that gives these, one after the other, whatever it is asked."""
    left = list(replies)
    return ScriptedEngine(lambda _: left.pop(0))


async def test_a_message_with_a_word_is_neither_answered_nor_kept_and_its_person_is_told_once(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await filtered(here, Side.INPUT)
        for text in (f"A {WORD}!", f"QUIBBLE\u200bFRUIT, and {WORD}", "ｑｕｉｂｂｌｅｆｒｕｉｔ"):
            await here.guest.send(here.talk, text)
        (line,) = here.said(here.talk)
        assert line.startswith(NOT_READ)
        assert WORD not in line
        await here.owner.send(here.talk, WORD)
        assert len(here.said(here.talk)) == 2, "each person is told"
        assert WORD not in kept(settings).casefold()
        assert str(here.guest.id) not in kept(settings)
        await here.guest.send(here.talk, "A pear")
        assert here.said(here.talk)[-1] == "Vera heard: A pear (1)"
        assert never_pings(here.env) == []


async def test_an_edit_that_brings_a_word_is_not_taken_over(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await filtered(here, Side.INPUT)
        sent = await here.guest.send(here.talk, "A pear")
        await here.guest.edit(sent, f"A {WORD}")
        assert here.said(here.talk) == ["Vera heard: A pear (1)"]
        assert WORD not in kept(settings)
        refused = await here.guest.send(here.talk, WORD)
        await here.guest.edit(refused, "A plum")
        assert "A plum" not in kept(settings), "what was not heard is not begun by an edit"


async def test_messages_to_other_people_are_none_of_its_business(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await filtered(here, Side.BOTH)
        await here.guest.send(here.talk, WORD)
        assert here.said(here.talk) == []


async def test_a_reply_with_a_word_is_drawn_again(store: Store, settings: Settings) -> None:
    engine = in_turn(f"My {WORD}.", f"A {WORD} it is.", "A pear.")
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        await filtered(here, Side.OUTPUT)
        await here.guest.send(here.talk, f"{WORD}?")
        assert here.said(here.talk) == ["A pear."], "what people say is not looked at"
        seeds = [request.sampling.seed for request in engine.requests]
        assert len(set(seeds)) == 3
        answer = await here.bot.answered._rework.find(here.talk.history()[-1].id)
        assert answer.version.how is not None
        assert answer.version.how["seed"] == seeds[-1], "the seed that is kept is the one that gave it"


async def test_where_no_reply_passes_there_is_a_line_and_nothing_is_kept(store: Store, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path / "data", temperature=0)
    engine = ScriptedEngine(lambda request: f"{WORD}.")
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        await filtered(here, Side.OUTPUT)
        await here.guest.send(here.talk, "A pear?")
        (line,) = here.said(here.talk)
        assert line.startswith("I found no answer that this server's word filter lets through.")
        assert [request.sampling.temperature for request in engine.requests] == [0, 0.7, 0.7]
        assert store.talk(here.place(here.talk), 10)[1] == ()
        (told_,) = told(await here.guest.slash(here.talk, "persona test", name="Vera", message="A pear?"))
        assert told_.content == line, "nor in a trial"
        here.env._errors_acknowledged = here.env.error_cursor
        assert all(WORD not in text for text in shown(here))


async def test_another_version_passes_the_filter_too(store: Store, settings: Settings) -> None:
    engine = in_turn("A pear.", WORD, "A plum.", WORD, WORD, WORD)
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        await filtered(here, Side.OUTPUT)
        await here.guest.send(here.talk, "What is it?")
        reply = here.talk.history()[-1]
        await here.guest.click(reply, label="🔁")
        assert here.said(here.talk) == ["A plum."]
        line = told(await here.guest.click(here.talk.history()[-1], label="🔁"))[-1]
        assert line.content.startswith("I found no answer")
        form = await here.guest.context_menu(here.talk, "Edit this reply", here.talk.history()[-1])
        (line,) = told(await fill(here.guest, form, f"A {WORD}"))
        assert "The reply stays as it was." in line.content
        assert here.said(here.talk) == ["A plum."]
        await filtered(here, Side.OUTPUT, "pear")
        await here.guest.click(here.talk.history()[-1], label="◀")
        assert here.said(here.talk) == ["A plum."], "a version that is stopped by now is not gone back to"
        await filtered(here, Side.OFF, "pear")
        await here.guest.click(here.talk.history()[-1], label="◀")
        assert here.said(here.talk) == ["A pear."]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_no_word_of_a_filtered_reply_is_seen_while_it_is_written(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "AFTER_S", 0.05)
    monkeypatch.setattr(draft, "EVERY_S", 0.02)
    async with speaking(store, settings, 0.02) as (here, _):
        await filtered(here, Side.OUTPUT, "sea")  # the last word of what is said
        await here.guest.send(here.talk, "a long one")
        await over(here)
        assert here.bot.drafts >= 1, "the place in the line was shown"
        texts = shown(here)
        assert not any("lamp" in text or "lit" in text for text in texts), texts
        (line,) = here.said(here.talk)
        assert line.startswith("I found no answer")
        assert "lamp" not in kept(settings)


async def test_a_reply_that_passes_comes_whole_where_a_filter_reads(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "AFTER_S", 0.05)
    monkeypatch.setattr(draft, "EVERY_S", 0.02)
    async with speaking(store, settings, 0.02) as (here, _):
        await filtered(here, Side.OUTPUT)
        await here.guest.send(here.talk, "a long one")
        await over(here)
        assert here.said(here.talk) == [LONG]
        assert all(text == LONG or "in line" in text for text in shown(here))


async def test_who_stops_a_reply_gets_no_filtered_words_either(store: Store, settings: Settings) -> None:
    async with speaking(store, settings, 0.1) as (here, engine):
        await filtered(here, Side.OUTPUT, "lamp")
        sent = await here.guest.send(here.talk, "a long one")
        while not here.bot.chat._under_way._begun:  # noqa: ASYNC110  it is the simulated Discord that changes
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        assert here.bot.chat.stop(sent.id, keep=True)
        await over(here)
        assert here.said(here.talk) == []
        assert len(engine.cancelled) == 1
        assert not any("lamp" in text for text in shown(here))


async def test_what_people_wrote_for_a_persona_is_not_said_either(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await filtered(here, Side.OUTPUT)
        for fields in (
            ("Vera", "I keep a lighthouse.", "", f"Have a {WORD}!"),
            ("Nemo", f"I sail for {WORD}.", "", "Hi"),
        ):
            form = await here.owner.slash(here.talk, "persona set")
            (line, *others) = told(await fill(here.owner, form, *fields))
            assert "has a word that this server's filter stops, so it is not shown" in line.content
            assert line.embeds == []
            assert others == [], "no greeting"
        form = await here.owner.slash(here.talk, "persona set")
        (line,) = told(await fill(here.owner, form, f"Captain {WORD}", "I sail."))
        assert line.ephemeral
        assert "does not let a persona of that name talk here" in line.content
        here.env._errors_acknowledged = here.env.error_cursor
        form = await here.owner.slash(here.talk, "persona set")
        (line, greeting) = told(await fill(here.owner, form, "Kit", "I am a fox.", "", "Hello there!"))
        assert line.embeds
        assert greeting.content == "Hello there!"
        assert all(WORD not in text for text in shown(here))


async def test_a_persona_that_has_a_filtered_name_already_says_nothing(store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(echo)
    async with world(store, settings, engine) as here:
        await here.seat(Persona(f"Captain {WORD}", "I sail."))
        await filtered(here, Side.OUTPUT)
        await here.guest.send(here.talk, "Hello")
        (line,) = here.said(here.talk)
        assert "of that name" in line
        assert engine.requests == []


async def test_words_of_ones_own_are_typed_in_a_form(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        form = await here.owner.slash(here.talk, "moderation words")
        (line,) = told(await fill(here.owner, form, f"{WORD}\nsour plum"))
        assert line.content.startswith("Word filter: off (my own list and 2 words of yours).")
        await here.guest.send(here.talk, f"A {WORD}")
        assert here.said(here.talk) == [f"Vera heard: A {WORD} (1)"], "it is off"
        await here.owner.slash(here.talk, "moderation filter", reads="input")
        await here.guest.send(here.talk, "Sour  plum, oh fuck")
        assert here.said(here.talk)[-1].startswith(NOT_READ)
        form = await here.owner.slash(here.talk, "moderation words")
        assert f"{WORD}\\nsour plum" in str(form.modal).replace("\n", "\\n"), "it is filled with those that there are"
        (line,) = told(await fill(here.owner, form, "a" * 61))
        assert "longer than 60 characters" in line.content
        form = await here.owner.click(line, label="Change")
        (line,) = told(await fill(here.owner, form, ""))
        assert line.content == "Word filter: what people say to me (my own list)."
        await here.owner.slash(here.talk, "moderation filter", reads="input", built_in=False)
        await here.guest.send(here.talk, "Sour plum, oh fuck")
        assert here.said(here.talk)[-1] == "Vera heard: Sour plum, oh fuck (3)"


async def test_in_direct_messages_there_is_no_filter(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await filtered(here, Side.BOTH)
        friend = here.env.create_user("friend")
        await friend.slash("persona set", name="Nemo", about="A captain.")
        await friend.send_dm(f"Ahoy {WORD}")
        last = friend.dm_channel.last_message
        assert last is not None
        assert last.content == f"Nemo heard: Ahoy {WORD} (1)"

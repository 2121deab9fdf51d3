"""What a persona told of itself is remembered when it does not fit the window any more, and people can change that."""

import json

import discord
import pytest
from sqlalchemy import text as sql

from bot.memory import MemoryForm
from persona_chat.chat import Chat
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import InputError
from persona_chat.notes import LONGEST, MOST
from persona_chat.persona import Persona
from persona_chat.place import Scope
from persona_chat.privacy import Privacy
from persona_chat.replay import recorded
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, fill, told, world
from tests.test_bursts import say
from tests.test_chat import PLACE, TALK, VERA, Sent, heard, make_chat

pytestmark = pytest.mark.both_databases

DOG = "I have a dog called Rex."


def small() -> ScriptedEngine:
    """Remembers a few turns only; it says of its dog what it was told to say, and else "Aha."."""
    return ScriptedEngine(lambda asked: DOG if "dog" in asked.dialogue[-1].text else "Aha.", context_tokens=270)


async def go_on(chat: Chat, first: int, count: int) -> None:
    for number in range(first, first + count):
        await say(chat, Sent(), [heard(number, "so " * 20)])


async def test_it_is_in_the_prompt_once_the_turn_is_not(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, small())
    rework = Rework(chat, store, settings)
    await say(chat, Sent(), [heard(1, "Have you a dog?")])
    prompt, _ = await rework.context(PLACE)
    assert prompt.notes == ()
    assert prompt.text.count(DOG) == 1
    await go_on(chat, 2, 12)
    prompt, _ = await rework.context(PLACE)
    assert prompt.notes == (DOG,)
    assert "Have you a dog?" not in prompt.text
    assert prompt.text.count(DOG) == 1
    await rework.delete([1])
    prompt, _ = await rework.context(PLACE)
    assert prompt.notes == (), "who takes the question back takes the answer with it"


async def test_it_can_be_turned_off(store: Store, settings: Settings) -> None:
    off = settings.model_copy(update={"memory": False})
    chat = await make_chat(store, off, small())
    await say(chat, Sent(), [heard(1, "Have you a dog?")])
    await go_on(chat, 2, 12)
    prompt, _ = await Rework(chat, store, off).context(PLACE)
    assert prompt.notes == ()


async def test_what_people_changed_counts_until_a_reset_and_after_it_is_undone(
    store: Store, settings: Settings
) -> None:
    chat = await make_chat(store, settings, small())
    rework = Rework(chat, store, settings)
    await say(chat, Sent(), [heard(1, "Have you a dog?")])
    await go_on(chat, 2, 12)
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    await chat.memory.keep(TALK, seated.kept.id, ["I have a cat.", "  "], 7)
    assert (await rework.context(PLACE))[0].notes == ("I have a cat.",)
    await say(chat, Sent(), [heard(50, "Is there a dog?")])
    await go_on(chat, 51, 12)
    assert (await rework.context(PLACE))[0].notes == ("I have a cat.", DOG), "what is said since is noted as ever"
    await chat.memory.keep(TALK, seated.kept.id, [], 7)
    assert (await rework.context(PLACE))[0].notes == ()
    await chat.memory.keep(TALK, seated.kept.id, ["I have a cat."], 7)
    await rework.reset(PLACE)
    assert (await rework.context(PLACE))[0].notes == ()
    await rework.undo_reset(PLACE)
    assert (await rework.context(PLACE))[0].notes == ("I have a cat.",)


async def test_another_version_of_an_old_reply_knows_what_was_noted_then(store: Store, settings: Settings) -> None:
    engine = small()
    chat = await make_chat(store, settings, engine)
    rework = Rework(chat, store, settings)
    await say(chat, Sent(), [heard(1, "Have you a dog?")])
    await go_on(chat, 2, 12)
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    await chat.memory.keep(TALK, seated.kept.id, [], 7)
    await rework.again(13, PLACE)
    assert (engine.requests[-1].kept_notes, engine.requests[-1].unnoted) == ((), 24)


@pytest.mark.parametrize("lines", [["x"] * (MOST + 1), ["x" * (LONGEST + 1)]])
async def test_too_much_is_refused(store: Store, settings: Settings, lines: list[str]) -> None:
    chat = await make_chat(store, settings, small())
    with pytest.raises(InputError):
        await chat.memory.keep(TALK, 1, lines, 7)


async def test_forgetting_reaches_it(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, small())
    await say(chat, Sent(), [heard(1, "Hello")])
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    await chat.memory.keep(TALK, seated.kept.id, ["canary"], 9)
    privacy = Privacy(store, chat, 30)
    export = json.loads((await privacy.export(9)).content)
    assert export["memories_you_changed"][0]["notes"] == ["canary"]
    await privacy.forget(7)
    with store._engine.connect() as connection:
        assert connection.execute(sql("SELECT count(*) FROM memories")).scalar_one() == 0, "it told of a talk with them"
    await chat.memory.keep(TALK, seated.kept.id, ["canary"], 9)
    await privacy.forget(9)
    assert not chat.memory._changed


async def shown(here: World) -> str:
    return told(await here.guest.slash(here.talk, "chat memory show"))[0].content


async def test_it_is_shown_edited_and_cleared_in_discord(store: Store, settings: Settings) -> None:
    async with world(store, settings, small()) as here:
        await here.seat(VERA)
        assert "remembers nothing here but the last messages" in await shown(here)
        await here.guest.send(here.talk, "Have you a dog?")
        for _ in range(12):
            await here.guest.send(here.talk, "so " * 20)
        assert await shown(here) == (
            f"Earlier talk is not read whole any more. Of it **Vera** remembers what it said of itself:\n• {DOG}"
        )
        form = await here.owner.slash(here.talk, "chat memory edit")
        assert form.modal is not None
        (line,) = told(await fill(here.owner, form, f"{DOG}\nI have a *cat*."))
        assert line.ephemeral
        assert line.content.endswith(f"• {DOG}\n• I have a \\*cat\\*.")
        (line,) = told(await here.owner.slash(here.talk, "chat memory clear"))
        assert "has forgotten" in line.content
        assert "remembers nothing here" in await shown(here)


async def test_the_form_asks_again_who_may(store: Store, settings: Settings) -> None:
    async with world(store, settings, small()) as here:
        await here.seat(VERA)
        role = here.guild.create_role("boss", permissions=discord.Permissions(manage_channels=True))
        boss = here.guild.add_member(here.env.create_user("boss"), roles=[role])
        form = await boss.slash(here.talk, "chat memory edit")
        here.env.backend.remove_member_role(here.guild.id, boss.id, role.id)
        await here.env.settle()
        (line,) = told(await fill(boss, form, "I have a cat."))
        assert "Manage Channels" in line.content
        assert "remembers nothing here" in await shown(here)
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_cannot_be_kept_comes_back_to_be_changed(store: Store, settings: Settings) -> None:
    async with world(store, settings, small()) as here:
        await here.seat(VERA)
        form = await here.owner.slash(here.talk, "chat memory edit")
        long = "I " + "x" * LONGEST
        (line,) = told(await fill(here.owner, form, f"I have a cat.\n{long}"))
        assert "characters" in line.content
        again = await here.owner.click(line, label="Change")
        assert f"I have a cat.\\n{long}" in str(again.modal)
        (line,) = told(await fill(here.owner, again, "I have a cat."))
        assert line.content.endswith("• I have a cat.")


async def test_the_form_holds_what_it_is_filled_with(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, small())
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    for filled in ("\n".join(["x" * (LONGEST + 1)] * MOST), "x" * 3000):
        notes = MemoryForm(chat, PLACE, seated.kept, (), filled).notes
        assert len(filled) <= (notes.max_length or 0) <= 4000


async def test_guests_have_memories_too(store: Store, settings: Settings) -> None:
    async with world(store, settings, small()) as here:
        cast, place = here.bot.chat.cast, here.place(here.talk, here.owner)
        nemo = await cast.create(place.home, Persona("Nemo", "I am a captain."), here.owner.id)
        await cast.invite(place, Scope.CHANNEL, nemo, "cap")
        assert "**Nemo** remembers nothing" in await shown(here), "where nobody was set, the first guest answers"
        await here.seat(VERA)
        (line,) = told(await fill(here.owner, await here.owner.slash(here.talk, "chat memory edit", guest="Nemo"), DOG))
        assert (
            line.content
            == f"Earlier talk is not read whole any more. Of it **Nemo** remembers what it said of itself:\n• {DOG}"
        )
        (line,) = told(await here.guest.slash(here.talk, "chat memory show", guest="cap"))
        assert DOG in line.content
        assert "**Vera** remembers nothing" in await shown(here)
        (line,) = told(await here.owner.slash(here.talk, "chat memory clear", guest="Nemo"))
        assert line.content.startswith("**Nemo** has forgotten")
        (line,) = told(await here.guest.slash(here.talk, "chat memory show", guest="Nemo"))
        assert "remembers nothing" in line.content
        (line,) = told(await here.guest.slash(here.talk, "chat memory show", guest="Ann"))
        assert "no guest called Ann" in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_it_says_that_it_is_off(store: Store, settings: Settings) -> None:
    async with world(store, settings.model_copy(update={"memory": False}), small()) as here:
        await here.seat(VERA)
        assert "memory is off" in await shown(here)
        for name in ("edit", "clear"):
            (line,) = told(await here.owner.slash(here.talk, f"chat memory {name}"))
            assert "memory is off" in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_who_only_changed_a_memory_sees_and_deletes_it(store: Store, settings: Settings) -> None:
    chat = await make_chat(store, settings, small())
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    await chat.memory.keep(TALK, seated.kept.id, ["canary"], 9)
    privacy = Privacy(store, chat, 30)
    assert (await privacy.about(9)).held.memories == 1
    assert (await privacy.forget(9)).held.memories == 1
    assert not (await privacy.about(9)).held


@pytest.mark.parametrize("on", [True, False])
async def test_a_reply_is_asked_for_once_more_with_the_same_memory(store: Store, settings: Settings, on: bool) -> None:
    chosen, engine = settings.model_copy(update={"memory": on}), small()
    chat = await make_chat(store, chosen, engine)
    await say(chat, Sent(), [heard(1, "Hi")])
    seated = await chat.cast.seated(PLACE)
    assert seated is not None
    await chat.memory.keep(TALK, seated.kept.id, ["I have a dog."], 9)
    await say(chat, Sent(), [heard(2, "And?")])
    _, again = recorded(store, 2, chosen)
    asked = engine.requests[-1]
    assert (again.kept_notes, again.unnoted) == (asked.kept_notes, asked.unnoted)
    assert again.kept_notes == (("I have a dog.",) if on else ())

"""`/chat`, through the real discord.py against simcord: to whom the bot listens, and what it remembers."""

import discord
import pytest

from persona_chat.errors import EngineBusy
from persona_chat.manners import Manners, Mode, listens, set_aside
from persona_chat.persona import Persona
from persona_chat.place import Scope
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


def mention(here: World) -> str:
    assert here.bot.user is not None
    return f"<@{here.bot.user.id}> Hello"


async def answers(here: World, text: str) -> bool:
    """Whether a message of the guest gets something."""
    before = len(here.said(here.talk))
    await here.guest.send(here.talk, text)
    return len(here.said(here.talk)) > before


async def test_modes(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        for mode, unasked, asked in (("mention", False, True), ("off", False, False), ("every", True, True)):
            (line,) = told(await here.owner.slash(here.talk, "chat mode", answer=mode))
            assert "here now. Before: " in line.content
            assert await answers(here, "Hello") == unasked
            assert await answers(here, mention(here)) == asked
        await here.owner.slash(here.talk, "chat mode", answer="chance", chance=100, cooldown=3600)
        assert await answers(here, "Hello")
        assert not await answers(here, "Hello"), "not again so soon"
        assert await answers(here, mention(here))
        await here.bot.chat.start()
        assert here.bot.chat.listening.manners(here.place(here.talk)) == Manners(Mode.CHANCE, 100, 3600)


async def test_a_pause_is_silence_that_says_so_when_asked(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        for expected in ("I am silent here", "I am already silent here"):
            (line,) = told(await here.owner.slash(here.talk, "chat pause"))
            assert line.content.startswith(expected)
        assert not await answers(here, "Hello")
        await here.guest.send(here.talk, mention(here))
        assert here.said(here.talk)[-1].startswith("I am silent here for now")
        await here.owner.slash(here.talk, "chat resume")
        assert await answers(here, "Hello")
        assert store.talk(here.place(here.talk), 10)[1][-1].text == "Vera heard: Hello (1)", (
            "nothing was kept meanwhile"
        )


async def test_a_pause_is_told_to_who_speaks_to_the_bot_and_seldom(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        cast, place = here.bot.chat.cast, here.place(here.talk, here.owner)
        await cast.invite(place, Scope.CHANNEL, await cast.create(place.home, Persona("Rose", "I bake."), 1), "")
        await here.owner.slash(here.talk, "chat pause")
        for text in ("I saw a rose", f"({mention(here)})"):
            assert not await answers(here, text), text
        assert await answers(here, mention(here))
        assert not await answers(here, mention(here)), "once is enough for a while"


@pytest.mark.parametrize("silent", [("chat pause", {}), ("chat mode", {"answer": "off"})])
async def test_where_nothing_is_answered_an_edit_is_taken_over_only(
    store: Store, settings: Settings, silent: tuple[str, dict[str, str]]
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        sent = await here.guest.send(here.talk, "Hello")
        await here.owner.slash(here.talk, silent[0], **silent[1])
        await here.guest.edit(sent, "Good day")
        assert here.said(here.talk)[0] == "Vera heard: Hello (1)"
        past = await here.bot.chat.history(here.place(here.talk), 9)
        assert [turn.text for turn in past] == ["Good day", "Vera heard: Hello (1)"]


async def test_an_edit_into_brackets_gets_no_other_answer(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        sent = await here.guest.send(here.talk, "Hello")
        await here.guest.edit(sent, "(never mind)")
        assert here.said(here.talk) == ["Vera heard: Hello (1)"]


async def test_a_reset_forgets_keeps_the_persona_and_can_be_undone(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        for text in ("one", "two"):
            await here.guest.send(here.talk, text)
        (line,) = told(await here.owner.slash(here.talk, "chat reset"))
        assert line.content.startswith("I put 2 messages out of my mind")
        await here.guest.send(here.talk, "three")
        assert here.said(here.talk)[-1] == "Vera heard: three (1)"
        await here.owner.slash(here.talk, "chat undo")
        await here.guest.send(here.talk, "four")
        assert here.said(here.talk)[-1] == "Vera heard: four (7)"
        (line,) = told(await here.owner.slash(here.talk, "chat undo"))
        assert "no reset to undo" in line.content
        for expected in ("I put 4 messages", "There is nothing here that I remember"):
            (line,) = told(await here.owner.slash(here.talk, "chat reset"))
            assert line.content.startswith(expected)
        await here.owner.slash(here.talk, "chat undo")
        await here.guest.send(here.talk, "five")
        assert here.said(here.talk)[-1] == "Vera heard: five (9)", "a reset of nothing is no reset"
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_takes_long_is_promised_at_once(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        promised: list[str] = []
        respond, rework = discord.InteractionResponse.defer, here.bot.answered._rework

        async def deferred(response: discord.InteractionResponse, **options: bool) -> None:
            promised.append("promised")
            await respond(response, **options)

        async def done(*_of: object) -> None:
            promised.append("begun")
            raise EngineBusy

        monkeypatch.setattr(discord.InteractionResponse, "defer", deferred)
        monkeypatch.setattr(rework, "reset", done)
        monkeypatch.setattr(rework, "context", done)
        for name in ("chat reset", "chat context", "chat memory show"):
            promised.clear()
            await here.owner.slash(here.talk, name)
            assert promised == ["promised", "begun"], name
        here.env._errors_acknowledged = here.env.error_cursor


async def test_the_context_is_exactly_what_the_model_reads(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        (shown,) = told(await here.guest.slash(here.talk, "chat context"))
        assert shown.ephemeral
        assert "the persona and 2 turns" in shown.content
        prompt, remembered = await here.bot.answered._rework.context(here.place(here.talk))
        assert remembered == 2
        for text in ("I keep a lighthouse.", "I have a parrot.", "one", "Vera heard: one (1)"):
            assert text in prompt.text
        assert [file.filename for file in shown.attachments] == ["context.txt"]


async def test_words_in_brackets_are_for_other_people(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        assert not await answers(here, "(is that bot always so chatty?)")
        assert await answers(here, "(really) tell me")


async def test_changing_it_takes_manage_channels(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        for command, options in (
            ("mode", {"answer": "off"}),
            ("pause", {}),
            ("resume", {}),
            ("reset", {}),
            ("undo", {}),
        ):
            (line,) = told(await here.guest.slash(here.talk, f"chat {command}", **options))
            assert line.ephemeral
            assert "Manage Channels" in line.content
        assert await answers(here, "Hello")
        friend = here.env.create_user("friend")
        (line,) = told(await friend.slash("chat reset"))
        assert line.content.startswith("There is nothing")
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_thread_follows_its_channel(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.owner.slash(here.talk, "chat mode", answer="off")
        here.env.backend.create_thread(here.talk.id, "aside", here.guest.id)
        await here.env.settle()
        (thread,) = here.talk.threads
        await here.guest.send(thread, "Hello")
        assert here.said(thread) == []
        await here.guest.slash(thread, "chat mode", answer="every")
        await here.guest.send(thread, "Hello")
        assert here.said(thread)[-1] == "Vera heard: Hello (1)"


@pytest.mark.parametrize(
    ("manners", "addressed", "seated", "heard"),
    [
        (Manners(), False, True, True),
        (Manners(), False, False, False),
        (Manners(), True, False, True),
        (Manners(Mode.EVERY), False, False, True),
        (Manners(Mode.MENTION), False, True, False),
        (Manners(Mode.OFF), True, True, False),
        (Manners(Mode.EVERY, paused=True), True, True, False),
        (Manners(Mode.CHANCE, 50, 10), False, True, True),
        (Manners(Mode.CHANCE, 49, 10), False, True, False),
        (Manners(Mode.CHANCE, 50, 11), False, True, False),
        (Manners(Mode.CHANCE, 0, 0), True, True, True),
    ],
)
def test_who_is_heard(manners: Manners, addressed: bool, seated: bool, heard: bool) -> None:
    assert listens(manners, addressed=addressed, seated=seated, quiet_s=10, drawn=49.5) == heard


@pytest.mark.parametrize(
    ("text", "aside"), [("(a)", True), (" (a) b (c) ", True), ("a (b)", False), ("(", False), ("", False)]
)
def test_brackets(text: str, aside: bool) -> None:
    assert set_aside(text) == aside

"""Several personas in one channel: each answers to its name, through the real discord.py against simcord."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_chat.guests import MOST, Called, called
from persona_chat.manners import Manners, Mode
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.word_filter import Filtering, Side
from tests.discord_world import World, told, world

pytestmark = pytest.mark.both_databases

VERA = Persona("Vera", "I keep a lighthouse.")
NEMO = Persona("Nemo", "I am a captain.", greeting="Ahoy!")
ANN = Persona("Ann Lee", "I am a baker.")


async def invite(here: World, name: str, **options: str) -> str:
    result = await here.owner.slash(here.talk, "persona guest invite", name=name, **options)
    return told(result)[0].content


async def made(here: World, *personas: Persona) -> None:
    place = here.place(here.talk, here.owner)
    for persona in personas:
        await here.bot.chat.cast.create(place.home, persona, here.owner.id)


async def answer_to(here: World, text: str) -> str:
    before = len(here.said(here.talk))
    await here.guest.send(here.talk, text)
    return " ".join(here.said(here.talk)[before:])


def refused_one(here: World) -> None:
    here.env._errors_acknowledged = here.env.error_cursor


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("Nemo, how deep is it?", 2),
        ("how deep is it, nemo?", 2),
        ("NEMO!!", 2),
        ("Hello Vera, is Nemo there?", 1),
        ("Ann  Lee, what do you bake?", 3),
        ("Ann, what do you bake?", 4),
        ("Nemos boat", None),
        ("anemone", None),
        ("Skipper: go!", 2),
        ("the skippers", None),
        ("ユキさん、おはよう", 5),
        ("no name in here", None),
        ("", None),
        ("C++ is hard", 6),
        ("(?:.*)", None),
    ],
)
def test_who_is_called(text: str, who: int | None) -> None:
    everybody = [
        Called(1, ("Vera",)),
        Called(2, ("Nemo", "skipper")),
        Called(3, ("Ann Lee",)),
        Called(4, ("Ann",)),
        Called(5, ("ユキ",)),
        Called(6, ("C++",)),
    ]
    assert called(text, everybody) == who


@given(st.text(min_size=1, max_size=30).filter(lambda name: name.strip()), st.text(max_size=60))
def test_any_name_can_be_called(name: str, text: str) -> None:
    assert called(f"{text}, {' '.join(name.split())} !", [Called(7, (name,))]) == 7


async def test_each_answers_to_its_name(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        assert await invite(here, "Nemo") == "**Nemo** is a guest here. It answers to “Nemo”, and to replies."
        assert here.said(here.talk)[-1] == "**Nemo:** Ahoy!"
        assert await answer_to(here, "Hello!") == "**Vera:** Vera heard: Hello! (1)"
        assert await answer_to(here, "Nemo, hello!") == "**Nemo:** Nemo heard: Nemo, hello! (1)"
        assert "Vera heard: Vera, is nemo nice? (3)" in await answer_to(here, "Vera, is nemo nice?")
        assert "Nemo heard: And you, nemo? (3)" in await answer_to(here, "And you, nemo?")


async def test_a_trigger_calls_it_too(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        assert "“Nemo” or “Skipper”" in await invite(here, "Nemo", trigger=" Skipper ")
        assert "Nemo heard" in await answer_to(here, "skipper, look out!")
        assert "“Nemo” or “Cap”" in await invite(here, "Nemo", trigger="Cap")
        assert "Vera heard" in await answer_to(here, "skipper, look out!")
        assert "already" in await invite(here, "Nemo", trigger="Cap")


async def test_whom_a_message_replies_to_answers(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        await answer_to(here, "Nemo, hello!")
        nemos = here.talk.last_message
        await answer_to(here, "Hello!")
        veras = here.talk.last_message
        await here.guest.send(here.talk, "How are you?", reply_to=nemos)
        assert here.said(here.talk)[-1].endswith("Nemo heard: How are you? (3)")
        await here.guest.send(here.talk, "How are you?", reply_to=veras)
        assert here.said(here.talk)[-1].endswith("Vera heard: How are you? (3)")
        await here.guest.send(here.talk, "Nemo, and you?", reply_to=veras)
        assert "Nemo heard" in here.said(here.talk)[-1]


async def test_where_nobody_was_set_a_guest_answers_when_it_is_called(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO, VERA)
        await invite(here, "Nemo")
        await invite(here, "Vera")
        assert await answer_to(here, "Hello!") == ""
        assert "Vera heard" in await answer_to(here, "Hello, Vera!")
        assert here.bot.user is not None
        assert "Nemo heard" in await answer_to(here, f"{here.bot.user.mention} hello!")


async def test_a_name_is_heard_as_a_mention_is(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        await here.bot.chat.listening.set(here.talk.id, Manners(Mode.MENTION))
        assert await answer_to(here, "Hello!") == ""
        assert "Nemo heard" in await answer_to(here, "Hello, Nemo!")
        await here.bot.chat.listening.set(here.talk.id, Manners(Mode.OFF))
        assert await answer_to(here, "Hello, Nemo!") == ""


async def test_it_leaves_and_remembers_when_it_returns(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        await answer_to(here, "Nemo, hello!")
        result = await here.owner.slash(here.talk, "persona guest dismiss", name="nemo")
        assert told(result)[0].content == "**Nemo** has left. What it said here it will remember."
        assert "Vera heard" in await answer_to(here, "Nemo?")
        await invite(here, "Nemo")
        assert "Nemo heard: Nemo? (3)" in await answer_to(here, "Nemo?")


async def test_what_is_said_of_guests(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO, VERA)
        await invite(here, "Nemo", trigger="cap")
        shown = told(await here.guest.slash(here.talk, "persona show"))[0]
        assert shown.content == "Also here, when called: **Nemo** (“cap”)."
        card = told(await here.owner.slash(here.talk, "status"))[0].embeds[0]
        assert card.fields[0].value == "Also here, when called: **Nemo** (“cap”)."
        await here.seat(VERA)
        shown = told(await here.guest.slash(here.talk, "persona show"))[0]
        assert shown.content == "Set for this channel. Also here, when called: **Nemo** (“cap”)."
        await answer_to(here, "Nemo, what do you see?")
        read = told(await here.guest.slash(here.talk, "chat context", guest="Nemo"))[0]
        assert "2 turns" in read.content


@pytest.mark.parametrize(
    ("command", "options", "line"),
    [
        ("persona guest invite", {"name": "Nobody"}, "no persona called Nobody"),
        ("persona guest invite", {"name": "Vera", "trigger": "e"}, "at least 2 letters or digits"),
        ("persona guest invite", {"name": "Vera", "trigger": "v!?"}, "at least 2 letters or digits"),
        ("persona guest dismiss", {"name": "Nobody"}, "no guest called Nobody"),
        ("persona guest invite", {"name": "Vera", "trigger": "NEMO"}, "Nemo answers to “NEMO” here already"),
        ("chat context", {"guest": "Vera"}, "no guest called Vera"),
    ],
)
async def test_refused(store: Store, settings: Settings, command: str, options: dict[str, str], line: str) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO, VERA)
        await invite(here, "Nemo")
        result = told(await here.owner.slash(here.talk, command, **options))[0]
        assert line in result.content
        assert result.ephemeral
        refused_one(here)


async def test_a_word_that_the_filter_stops_is_no_trigger(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO)
        await here.bot.chat.moderation.filter(here.guild.id, Filtering(Side.OUTPUT, words=("turnip",)))
        result = told(await here.owner.slash(here.talk, "persona guest invite", name="Nemo", trigger="Turnip"))[0]
        assert "which this server's filter stops" in result.content
        assert result.ephemeral
        assert not here.bot.chat.cast.guests.at(here.place(here.talk))
        refused_one(here)


async def test_not_more_than_there_is_room_for(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, *(Persona(f"Guest {number}", "I am here.") for number in range(MOST + 1)))
        for number in range(MOST):
            assert "is a guest" in await invite(here, f"Guest {number}")
        assert f"There are {MOST} guests here" in await invite(here, f"Guest {MOST}")
        refused_one(here)


async def test_an_age_restricted_one_stays_out_elsewhere(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, Persona("Rex", "I curse.", age_restricted=True))
        assert "age-restricted" in await invite(here, "Rex")
        assert not here.bot.chat.cast.guests.at(here.place(here.talk))
        refused_one(here)


async def test_a_renamed_or_deleted_one_is_called_as_it_is_now(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        cast, place = here.bot.chat.cast, here.place(here.talk, here.owner)
        kept = await cast.find((place.home,), "Nemo")
        kept = await cast.edit(kept, Persona("Ned", "I am a captain."), here.owner.id)
        assert "Vera heard" in await answer_to(here, "Nemo?")
        assert "Ned heard" in await answer_to(here, "Ned?")
        await cast.delete(kept)
        assert "Vera heard" in await answer_to(here, "Ned?")
        await cast.restore(kept.id)
        assert "Ned heard" in await answer_to(here, "Ned?")


async def test_a_thread_has_its_channels_guests_and_its_own(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO, VERA)
        cast, channel = here.bot.chat.cast, here.place(here.talk, here.owner)
        thread = Place(77, here.owner.id, here.guild.id, here.talk.id)
        await cast.invite(channel, Scope.CHANNEL, await cast.find((channel.home,), "Nemo"), "")
        await cast.invite(thread, Scope.THREAD, await cast.find((channel.home,), "Vera"), "")
        assert [guest.name for guest in cast.guests.at(thread)] == ["Vera", "Nemo"]
        assert [guest.name for guest in cast.guests.at(channel)] == ["Nemo"]


async def test_they_are_known_after_a_restart(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await made(here, NEMO)
        await invite(here, "Nemo", trigger="cap")
    async with world(store, settings) as here:
        place = Place(next(iter(here.bot.chat.cast.guests._at)).id, here.guest.id, here.guild.id)
        (guest,) = here.bot.chat.cast.guests.at(place)
        assert (guest.name, guest.trigger) == ("Nemo", "cap")


async def test_somebodys_own_leaves_when_they_are_forgotten(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        place, cast = here.place(here.talk), here.bot.chat.cast
        kept = await cast.create(place.mine, NEMO, here.guest.id)
        await cast.invite(place, Scope.CHANNEL, kept, "cap")
        await here.bot.privacy.forget(here.guest.id)
        assert not cast.guests.at(place)
        assert not store.guests.all()


async def test_each_of_two_messages_in_a_row_goes_to_whom_it_calls(store: Store, settings: Settings) -> None:
    async with world(store, settings.model_copy(update={"burst_s": 0.2})) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        await here.post_at_once(here.talk, [here.guest.id] * 2, ["Nemo, hello", "Vera, how are you?"])
        assert here.said(here.talk)[-2:] == [
            "**Nemo:** Nemo heard: Nemo, hello (1)",
            "**Vera:** Vera heard: Vera, how are you? (1)",
        ]


async def test_a_reply_to_a_person_calls_nobody(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await made(here, NEMO)
        await invite(here, "Nemo")
        asked = await here.guest.send(here.talk, "Nemo, hello")
        await here.owner.send(here.talk, "Hi Gus", reply_to=asked)
        assert here.said(here.talk)[-1] == "**Vera:** Vera heard: Hi Gus (1)"

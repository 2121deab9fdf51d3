"""The bot in Discord, through the real discord.py against simcord: who is answered, when, and with what."""

import pytest

from bot.client import WENT_WRONG
from bot.listener import SAY_SOMETHING
from persona_chat.asking import NO_PERSONA
from persona_chat.dialogue import Speaker
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineBusy
from persona_chat.persona import Persona
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store
from tests.discord_world import echo, make_bot, never_pings, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


async def test_setting_a_persona_turns_the_channel_on_and_people_are_answered(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.guest.send(here.talk, "Is anybody there?")
        assert here.said(here.talk) == []

        result = await here.owner.slash(here.talk, "persona set", name="Vera", about="I keep a lighthouse.")
        assert result.response is not None
        assert "**Vera** is talking here now" in result.response.content
        assert not result.response.ephemeral

        asked = await here.guest.send(here.talk, "Who are you?")
        answer = here.talk.last_message
        assert answer is not None
        assert answer.content == "Vera heard: Who are you? (1)"
        assert answer.reference is not None
        assert answer.reference.message_id == asked.id
        assert never_pings(here.env) == []


async def test_two_channels_have_two_personas_and_two_memories(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.owner.slash(here.talk, "persona set", name="Vera", about="A keeper.")
        await here.owner.slash(here.other, "persona set", name="Nemo", about="A captain.")
        for number in range(3):
            await here.guest.send(here.talk, f"talk {number}")
            await here.owner.send(here.other, f"other {number}")
        assert here.said(here.talk)[1:] == [f"Vera heard: talk {n} ({2 * n + 1})" for n in range(3)]
        assert here.said(here.other)[1:] == [f"Nemo heard: other {n} ({2 * n + 1})" for n in range(3)]


async def test_twenty_people_at_once_are_answered_in_order_each_seeing_the_reply_before(
    store: Store, settings: Settings
) -> None:
    engine = ScriptedEngine(echo)
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        people = [here.guild.add_member(here.env.create_user(f"person{n}")) for n in range(20)]
        texts = [f"I am number {n}" for n in range(20)]
        posted = await here.post_at_once(here.talk, [person.id for person in people], texts)

        assert here.said(here.talk) == [f"Vera heard: {text} ({2 * n + 1})" for n, text in enumerate(texts)]
        replies = [message for message in here.talk.history() if message.reference is not None]
        assert [message.reference.message_id for message in replies if message.reference] == posted
        for number, request in enumerate(engine.requests[1:], 1):
            reply_before = request.dialogue[-2]
            assert (reply_before.speaker, texts[number - 1] in reply_before.text) == (Speaker.B, True)


async def test_a_channel_with_too_many_waiting_gets_a_polite_line(store: Store, settings: Settings) -> None:
    few = load_settings(data_dir=settings.data_dir, channel_queue=2)
    async with world(store, few, ScriptedEngine(echo)) as here:
        await here.seat(VERA)
        await here.post_at_once(here.talk, [here.guest.id] * 4, ["a", "b", "c", "d"])
        said = here.said(here.talk)
        assert said.count(str(EngineBusy())) == 2
        assert [line for line in said if line != str(EngineBusy())] == ["Vera heard: a (1)", "Vera heard: b (3)"]


async def test_a_replayed_event_is_answered_once(store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(echo)
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        events: list[tuple[str, object]] = []
        here.env.backend.subscribers.append(lambda event, payload: events.append((event, payload)))
        await here.guest.send(here.talk, "Hello")
        payload = next(payload for event, payload in events if event == "MESSAGE_CREATE")
        for _ in range(3):
            here.env.backend.emit("MESSAGE_CREATE", payload)  # type: ignore[arg-type]
        await here.env.settle()
        assert here.said(here.talk) == ["Vera heard: Hello (1)"]
        assert len(engine.requests) == 1


async def test_bots_webhooks_and_itself_are_ignored(store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(echo)
    async with world(store, settings, engine) as here:
        await here.seat(VERA)
        me = here.bot.user
        assert me is not None
        robot = here.guild.add_member(here.env.create_user("robot", bot=True))
        await robot.send(here.talk, f"{me.mention} hello")
        await here.guild.create_webhook(here.talk, "hook").send(f"{me.mention} hello")
        here.env.backend.create_message(here.talk.id, me.id, "I talk to myself")
        await here.env.settle()
        assert engine.requests == []


async def test_a_mention_and_a_reply_are_always_answered(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        me = here.bot.user
        assert me is not None
        await here.guest.send(here.talk, f"{me.mention} hello?")
        assert here.said(here.talk) == [NO_PERSONA]
        await here.guest.send(here.talk, me.mention)
        assert here.said(here.talk)[-1] == SAY_SOMETHING
        answer = here.talk.last_message
        assert answer is not None
        await here.guest.send(here.talk, "and now?", reply_to=answer)
        assert here.said(here.talk)[-1] == NO_PERSONA


async def test_our_mention_is_not_part_of_what_was_said_and_others_become_names(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        me = here.bot.user
        assert me is not None
        text = f"{me.mention} do you know {here.guest.mention}?\nHe is in {here.other.mention}."
        await here.owner.send(here.talk, text)
        assert here.said(here.talk) == ["Vera heard: do you know Gus? He is in #other. (1)"]


async def test_without_the_message_content_intent_only_mentions_replies_and_direct_messages_are_answered(
    store: Store, settings: Settings
) -> None:
    blind = load_settings(data_dir=settings.data_dir, message_content=False)
    async with world(store, blind) as here:
        me = here.bot.user
        assert me is not None
        result = await here.owner.slash(here.talk, "persona set", name="Vera", about="A keeper.")
        assert result.response is not None
        assert "only read messages here that mention me" in result.response.content
        await here.guest.send(here.talk, "Hello?")
        await here.guest.send(here.talk, f"{me.mention} hello?")
        answer = here.talk.last_message
        assert answer is not None
        await here.guest.send(here.talk, "really?", reply_to=answer)
        assert here.said(here.talk)[1:2] == ["Vera heard: hello? (1)"]
        # A reply is read when it pings us; simcord's replies do not, so its words are withheld, as Discord's are.

        guest = here.guest._user if hasattr(here.guest, "_user") else here.env.create_user("friend")
        await guest.slash("persona set", name="Nemo", about="A captain.")
        await guest.send_dm("Ahoy")
        last = guest.dm_channel.last_message
        assert last is not None
        assert last.content == "Nemo heard: Ahoy (1)"


async def test_nobody_is_ever_pinged_whatever_the_persona_says(store: Store, settings: Settings) -> None:
    def pings(request: ReplyRequest) -> str:
        return f"@everyone @here <@{here.guest.id}> <@&{here.guild.default_role.id}> {request.dialogue[-1].text}"

    async with world(store, settings, ScriptedEngine(pings)) as here:
        await here.owner.slash(here.talk, "persona set", name="@everyone", about=f"<@{here.owner.id}> @here")
        await here.guest.slash(here.talk, "persona show")
        await here.guest.send(here.talk, f"{here.owner.mention} @everyone")
        await here.owner.slash(here.talk, "persona set", name="V", about="<@1> " * 700)
        await here.owner.slash(here.talk, "persona clear")
        assert len(here.said(here.talk)) == 3
        assert never_pings(here.env) == []
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_long_reply_is_split_and_every_part_is_noted(store: Store, settings: Settings) -> None:
    long = "A sentence that goes on. " * 200
    async with world(store, settings, ScriptedEngine(lambda _request: long)) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Tell me everything")
        said = here.said(here.talk)
        assert len(said) == 3
        assert all(len(part) <= 2000 and part.endswith(".") for part in said)
        assert " ".join(said) == long.strip()
        replied = [message.reference is not None for message in here.talk.history()][1:]
        assert replied == [True, False, False]


async def test_a_restart_in_the_middle_keeps_persona_and_history(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.owner.slash(here.talk, "persona set", name="Vera", about="A keeper.")
        await here.guest.send(here.talk, "before")
        again = make_bot(store, settings)
        await again.chat.start()
        await here.env.restart_bot(again)
        await here.guest.send(here.talk, "after")
        last = here.talk.last_message
        assert last is not None
        assert last.content == "Vera heard: after (3)"


async def test_typing_is_shown_while_it_thinks_and_is_no_condition_for_a_reply(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        requests = [(request.method, request.path) for request in here.env.http_requests]
        typing = requests.index(("POST", f"/channels/{here.talk.id}/typing"))
        sent = requests.index(("POST", f"/channels/{here.talk.id}/messages"))
        assert typing < sent
        here.env.inject_error("POST", "/channels/*/typing", status=500)
        await here.guest.send(here.talk, "two")
        assert here.said(here.talk)[-1] == "Vera heard: two (3)"


async def test_what_nobody_foresaw_is_told_without_its_details(
    store: Store, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ScriptedEngine(lambda request: RuntimeError(f"cannot handle {request.dialogue[-1].text}"))
    async with world(store, settings, engine, check_errors=False) as here:
        await here.seat(VERA)
        asked = await here.guest.send(here.talk, "canary words")
        assert here.said(here.talk) == [WENT_WRONG]
        assert str(asked.id) in caplog.text
        assert "canary words" not in caplog.text


async def test_people_who_wait_when_the_persona_leaves_get_no_lines(store: Store, settings: Settings) -> None:
    def leaves(request: ReplyRequest) -> str:
        here.bot.chat.cast._on = frozenset()
        return echo(request)

    async with world(store, settings, ScriptedEngine(leaves)) as here:
        await here.seat(VERA)
        await here.post_at_once(here.talk, [here.guest.id] * 5, ["a", "b", "c", "d", "e"])
        assert here.said(here.talk) == ["Vera heard: a (1)"]


async def test_the_reply_is_saved_before_it_is_sent(store: Store, settings: Settings) -> None:
    async with world(store, settings, check_errors=False) as here:
        await here.seat(VERA)
        here.env.inject_error("POST", "/channels/*/messages", status=400, times=None)
        await here.guest.send(here.talk, "Hello")
        assert [turn.text for turn in await here.bot.chat.history(here.place(here.talk), 10)] == [
            "Hello",
            "Vera heard: Hello (1)",
        ]

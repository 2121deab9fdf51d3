"""What was left by a crash, or said while the bot was away, is answered once: through simcord, on the real store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from discord.utils import time_snowflake
from sqlalchemy import select

from bot.client import PersonaBot
from bot.draft import GOES_ON
from bot.listener import SAY_SOMETHING
from persona_chat.chat import ATTEMPTS
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import GaveUp
from persona_chat.heard import Heard
from persona_chat.inbox import EXPIRED, Inbox
from persona_chat.persona import Persona
from persona_chat.place import Place
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.store.tables import Messages
from tests.discord_world import World, echo, make_bot, world
from tests.test_retention import age

VERA = Persona("Vera", "I keep a lighthouse.")


class Away:
    """A bot that went down, and what comes of it when it is back."""

    def __init__(self, here: World, store: Store, settings: Settings) -> None:
        self.here, self.store, self._settings = here, store, settings
        self.engine = ScriptedEngine(echo)

    def said(self, text: str) -> int:
        """A message that nobody heard."""
        return self.here.env.backend.create_message(self.here.talk.id, self.here.guest.id, text).id

    def heard(self, message_id: int, text: str) -> Heard:
        return Heard(message_id, self.here.place(self.here.talk), "Gus", text)

    def answered(self, message_id: int, text: str, reply: str) -> None:
        """A reply that was saved and went no further."""
        assert self.store.claim(self.heard(message_id, text))
        seated, _ = self.store.talk(self.here.place(self.here.talk), 2)
        assert seated is not None
        self.store.save_reply(message_id, seated.revision_id, reply)

    async def back(self) -> PersonaBot:
        """Start the bot again."""
        bot = make_bot(self.store, self._settings, self.engine)
        await bot.chat.start()
        await bot.privacy.start()
        await self.here.env.restart_bot(bot)
        self.here.bot = bot
        await self.here.env.settle()
        return bot

    def replies(self) -> list[tuple[str, int | None]]:
        """What the bot wrote, each with the message that it replies to."""
        me = self.here.bot.user
        assert me is not None
        found = [one for one in self.here.talk.history() if one.author.id == me.id]
        return [(one.content, one.reference.message_id if one.reference else None) for one in found]

    def state(self, message_id: int) -> tuple[str, str | None, str]:
        with self.store.reading() as connection:
            of = Messages.message_id == message_id
            row = connection.execute(select(Messages.state, Messages.reason, Messages.text).where(of)).one()
        return row.state, row.reason, row.text


@asynccontextmanager
async def went_down(store: Store, settings: Settings) -> AsyncIterator[Away]:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello!")
        await here.bot.chat.inbox.keep_marks()

        async def deaf(_message: object) -> None:
            return None

        here.bot.on_message = deaf  # type: ignore[method-assign, assignment]
        yield Away(here, store, settings)


async def test_what_was_claimed_and_not_answered_is_answered_once(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        assert store.claim(away.heard(asked, "How are you?"))
        await away.back()
        assert away.replies()[1:] == [("Vera heard: How are you? (3)", asked)]
        await away.back()
        assert len(away.replies()) == 2
        assert len(away.engine.requests) == 1


async def test_a_reply_that_was_saved_is_sent_and_not_written_again(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        away.answered(asked, "How are you?", "Fine!")
        await away.back()
        assert away.replies()[1:] == [("Fine!", asked)]
        assert not away.engine.requests
        answer = store.answers.find(asked)
        assert answer is not None
        assert len(answer.sent) == 1


async def test_of_a_long_reply_only_what_is_missing_is_sent(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("Tell me all.")
        away.answered(asked, "Tell me all.", f"{'One. ' * 350}\n\n{'Two. ' * 350}")
        await away.back()
        (_, first), (second, _) = ((content[:4], to) for content, to in away.replies()[1:])
        assert first == asked
        store.answers.unsend([one.id for one in away.here.talk.history()][-1:])
        await away.back()
        assert [content[:4] for content, _ in away.replies()[1:]] == ["One.", second]


async def test_what_went_out_without_being_noted_is_not_sent_again(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        away.answered(asked, "How are you?", "Fine!")
        await away.back()
        (sent,) = store.answers.find(asked).sent  # type: ignore[union-attr]
        store.answers.unsend([sent])
        await away.back()
        assert away.replies()[1:] == [("Fine!", asked)]
        assert store.answers.find(asked).sent == (sent,)  # type: ignore[union-attr]


async def test_a_draft_that_was_left_becomes_the_reply(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        assert store.claim(away.heard(asked, "How are you?"))
        channel = away.here.bot.get_channel(away.here.talk.id)
        question = await channel.fetch_message(asked)  # type: ignore[union-attr]
        await question.reply(f"Vera hea{GOES_ON}", mention_author=False)
        await away.back()
        assert away.replies()[1:] == [("Vera heard: How are you? (3)", asked)]


async def test_a_message_that_brings_the_bot_down_does_so_a_few_times_only(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        assert store.claim(away.heard(asked, "How are you?"))
        for _ in range(ATTEMPTS - 1):
            assert store.inbox.take_up(asked, ATTEMPTS)
        await away.back()
        assert away.replies()[1:] == [(str(GaveUp()), asked)]
        assert away.state(asked) == ("refused", "GaveUp", "")
        assert not away.engine.requests


async def test_what_is_too_old_is_let_go_of(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = time_snowflake(away.here.env.now() - timedelta(minutes=11))
        assert store.claim(away.heard(asked, "How are you?"))
        await away.back()
        assert len(away.replies()) == 1
        assert away.state(asked) == ("refused", EXPIRED, "")


async def test_a_message_that_is_gone_is_not_answered(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        assert store.claim(away.heard(asked, "How are you?"))
        messages = {one.id: one for one in away.here.talk.history()}
        await away.here.guest.delete(messages[asked])
        await away.back()
        assert len(away.replies()) == 1
        assert away.state(asked)[0] in ("refused", "deleted")


async def test_what_was_said_meanwhile_is_answered_in_order_and_once(store: Store, settings: Settings) -> None:
    async with went_down(store, settings) as away:
        first, second = away.said("Are you there?"), away.said("Hello?")
        await away.back()
        assert away.replies()[1:] == [
            ("Vera heard: Are you there? (3)", first),
            ("Vera heard: Hello? (5)", second),
        ]
        await away.here.bot.chat.inbox.keep_marks()
        assert store.inbox.marks() == {away.here.talk.id: second}
        await away.back()
        assert len(away.engine.requests) == 2


async def test_an_event_that_comes_twice_is_looked_at_once(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        me = here.bot.user
        assert me is not None
        # Nothing is claimed of it, so only that it was heard before keeps it from being answered again.
        message = here.env.backend.create_message(here.talk.id, here.guest.id, me.mention)
        await here.env.settle()
        channel = here.bot.get_channel(here.talk.id)
        here.bot.dispatch("message", await channel.fetch_message(message.id))  # type: ignore[union-attr]
        await here.env.settle()
        assert here.said(here.talk) == [SAY_SOMETHING]


async def test_a_mark_waits_for_what_is_open_and_for_what_is_not_known(store: Store) -> None:
    inbox = Inbox(store)
    await inbox.start()
    with inbox.hearing(1, 10) as first:
        first.for_us = True
        with inbox.hearing(1, 11) as second:
            second.for_us = True
        await inbox.keep_marks()
        assert store.inbox.marks() == {1: 9}
    await inbox.keep_marks()
    assert store.inbox.marks() == {1: 11}

    inbox = Inbox(store)
    await inbox.start()
    with inbox.hearing(1, 20) as third:
        third.for_us = True
    await inbox.keep_marks()
    assert store.inbox.marks() == {1: 11}  # what came between is not known yet
    inbox.expect(1, [15])
    inbox.release(1)
    await inbox.keep_marks()
    assert store.inbox.marks() == {1: 14}
    with inbox.hearing(1, 15) as late:
        late.for_us = True
    await inbox.keep_marks()
    assert store.inbox.marks() == {1: 20}


async def test_what_fails_while_it_is_looked_is_looked_at_the_next_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(store)
    asked: list[object] = []

    def left(_since: object, message_ids: object) -> tuple[()]:
        asked.append(message_ids)
        inbox.try_again(2)
        if len(asked) == 1:
            raise OSError
        return ()

    monkeypatch.setattr(store.inbox, "left", left)
    inbox.try_again(1)
    with pytest.raises(OSError):  # noqa: PT011
        await inbox.open_again(0)
    await inbox.open_again(0)
    await inbox.open_again(0)
    assert [sorted(ids) for ids in asked] == [[1], [1, 2], [2]]  # type: ignore[call-overload]


@pytest.mark.both_databases
async def test_a_mark_goes_when_nobody_has_talked_there_for_a_week(store: Store, database_url: str) -> None:
    for channel, days in ((1, 6), (2, 8)):
        assert store.claim(Heard(channel, Place(channel, 7, 3), "Gus", "Hello"))
        age(database_url, {channel: days})
    store.inbox.mark({1: 10, 2: 10, 3: 10})
    assert await Inbox(store).left(10) == ()
    assert store.inbox.marks() == {1: 10}


@pytest.mark.parametrize("upto", [5, 12])
async def test_a_mark_never_moves_back(store: Store, upto: int) -> None:
    store.inbox.mark({1: 10})
    store.inbox.mark({1: upto})
    assert store.inbox.marks() == {1: max(10, upto)}


async def test_more_than_a_channels_line_holds_is_answered_all_the_same(store: Store, settings: Settings) -> None:
    async with went_down(store, settings.model_copy(update={"channel_queue": 2})) as away:
        asked = [away.said(f"Number {number}?") for number in range(6)]
        await away.back()
        assert [to for _, to in away.replies()[1:]] == asked


async def test_what_was_said_before_there_was_a_mark_is_heard_too(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello!")

        async def deaf(_message: object) -> None:
            return None

        here.bot.on_message = deaf  # type: ignore[method-assign, assignment]
        away = Away(here, store, settings)
        asked = away.said("Are you there?")
        await away.back()
        assert away.replies()[1:] == [("Vera heard: Are you there? (3)", asked)]


async def test_what_another_process_may_be_answering_is_left_to_it(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with went_down(store, settings) as away:
        asked = away.said("How are you?")
        assert store.claim(away.heard(asked, "How are you?"))
        monkeypatch.setattr(PersonaBot, "holds", lambda *_given: False)
        await away.back()
        assert len(away.replies()) == 1
        assert away.state(asked)[0] == "claimed"

"""How much one person, one channel and one server may ask in a minute."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from bot.pace import Pace, Verdict
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import told, world

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


@dataclass
class Message:
    """What discord.py's counting looks at."""

    person: int
    channel_id: int
    after_s: float
    guild_id: int | None = 1

    @property
    def author(self) -> Any:
        return SimpleNamespace(id=self.person)

    @property
    def channel(self) -> Any:
        return SimpleNamespace(id=self.channel_id)

    @property
    def guild(self) -> Any:
        return None if self.guild_id is None else SimpleNamespace(id=self.guild_id)

    @property
    def created_at(self) -> datetime:
        return NOON + timedelta(seconds=self.after_s)


def judged(pace: Pace, person: int, channel: int, after_s: float, guild: int | None = 1) -> Verdict:
    return pace.judge(Message(person, channel, after_s, guild))[0]  # type: ignore[arg-type]


def test_the_message_after_the_last_one_allowed_is_explained_and_the_next_passed_over() -> None:
    pace = Pace(3, 0)
    verdicts = [judged(pace, 1, 10, second) for second in range(5)]
    assert verdicts == [Verdict.ANSWER] * 3 + [Verdict.EXPLAIN, Verdict.PASS]
    assert judged(pace, 2, 10, 5) is Verdict.ANSWER, "others are not held up"
    assert judged(pace, 1, 11, 6) is Verdict.PASS, "another channel does not help"
    assert judged(pace, 1, 10, 61) is Verdict.ANSWER, "a minute later it goes on"


def test_a_channel_has_a_limit_of_its_own() -> None:
    pace = Pace(0, 4)
    assert [judged(pace, person, 10, 0) for person in range(6)][3:] == [Verdict.ANSWER, Verdict.EXPLAIN, Verdict.PASS]
    assert judged(pace, 7, 11, 1) is Verdict.ANSWER


def test_a_server_has_one_too_and_each_of_its_channels_is_told() -> None:
    pace = Pace(0, 0, 4)
    assert [judged(pace, person, 10 + person, 0) for person in range(4)] == [Verdict.ANSWER] * 4
    after = [judged(pace, 5, channel, 1) for channel in (20, 20, 21, 21)]
    assert after == [Verdict.EXPLAIN, Verdict.PASS] * 2
    assert judged(pace, 5, 30, 1, guild=2) is Verdict.ANSWER, "another server is not held up"
    talks = [judged(pace, person, 40 + person, 1, guild=None) for person in range(9)]
    assert talks == [Verdict.ANSWER] * 9, "nor are direct conversations, which are no server together"
    assert pace.refused == {"server": 4}


def test_no_limit_is_none() -> None:
    pace = Pace(0, 0, 0)
    assert all(judged(pace, 1, 10, 0) is Verdict.ANSWER for _ in range(1000))


def test_the_line_names_the_limit() -> None:
    pace = Pace(2, 0)
    for _ in range(2):
        judged(pace, 1, 10, 0)
    assert "2 messages a minute" in pace.judge(Message(1, 10, 1))[1]  # type: ignore[arg-type]
    server = Pace(0, 0, 1)
    judged(server, 1, 10, 0)
    assert "this server at once: I answer 1 messages" in server.judge(Message(1, 10, 1))[1]  # type: ignore[arg-type]


async def test_who_writes_too_much_is_told_so_once(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(Persona("Vera", "I keep a lighthouse."))
        here.bot.pace = Pace(3, 0)
        for number in range(6):
            await here.guest.send(here.talk, f"message {number}")
        said = here.said(here.talk)
        assert [line.startswith("Vera heard") for line in said] == [True, True, True, False]
        assert "I answer 3 messages a minute" in said[-1]
        await here.owner.send(here.talk, "And me?")
        assert here.said(here.talk)[-1].startswith("Vera heard: And me?")


async def test_other_answers_to_the_same_count_too(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(Persona("Vera", "I keep a lighthouse."))
        here.bot.pace = Pace(3, 0)
        await here.guest.send(here.talk, "Hello")
        reply = here.talk.last_message
        assert reply is not None
        await here.guest.click(reply, label="🔁")
        (more,) = told(await here.guest.click(reply, label="⋯"))
        await here.guest.click(more, label="Continue")
        for result in (
            await here.guest.click(reply, label="🔁"),
            await here.guest.click(more, label="Continue"),
            await here.guest.context_menu(here.talk, "Regenerate", reply),
        ):
            line = told(result)[-1]
            assert "I answer 3 messages a minute" in line.content
            assert line.ephemeral
        await here.guest.send(here.talk, "Hello again")
        assert "I answer 3 messages a minute" in here.said(here.talk)[-1]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_edits_count_too_and_their_words_are_taken_over(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(Persona("Vera", "I keep a lighthouse."))
        here.bot.pace = Pace(3, 0)
        sent = await here.guest.send(here.talk, "Hello")
        for number in range(5):
            await here.guest.edit(sent, f"edit {number}")
        assert here.said(here.talk) == ["Vera heard: edit 1 (1)"]
        past = await here.bot.chat.history(here.place(here.talk), 9)
        assert past[0].text == "edit 4"

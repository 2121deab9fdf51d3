"""`/retrain` and `/adapter` in Discord: real commands, buttons and messages in simcord, the real trainer underneath."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import discord
import pytest

from bot import announcer
from bot.admins import REFUSAL
from bot.retraining import NOTHING
from bot.run import retraining_in
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.process import this_process
from persona_chat.registry import Registry
from persona_chat.settings import Settings
from persona_chat.store.jobs import Job, Order, State
from persona_chat.store.store import Store
from tests.discord_world import World, echo, make_bot, never_pings, world
from tests.postgres import kind_of, on_sqlite, only_whole_on_a_server
from tests.torture import count, record
from tests.training_fixtures import Workshop

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, make_workshop: Callable[[Settings], Workshop]) -> None:
    """Messages are edited often, and replies of the evaluator are short."""
    monkeypatch.setattr(announcer, "EVERY_S", 0.1)


@asynccontextmanager
async def running(store: Store, settings: Settings, engine: ScriptedEngine | None = None) -> AsyncIterator[World]:
    """The bot with its retrainings, in a Discord where the server's owner runs the bot too."""
    async with world(store, settings, engine, check_errors=False, settle_timeout=count(20, 300)) as here:
        here.bot.admins.add(here.owner.id)
        async with retraining_in(here.bot):
            yield here


async def begin(here: World) -> tuple[Job, discord.Message]:
    """Start a retraining as its admin does; return the job and its message in the channel."""
    shown = await here.owner.slash(here.talk, "retrain start")
    assert shown.response is not None
    begun = await here.owner.click(shown.response, label="Begin")
    assert begun is not None
    job = await here.bot.retraining.under_way()
    assert job is not None
    assert job.message_id is not None
    return job, message(here, job)


def message(here: World, job: Job) -> discord.Message:
    return next(message for message in here.talk.history() if message.id == job.message_id)


async def until(true: Callable[[], bool], seconds: float = 600) -> None:
    """Wait for something that the bot does by itself."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  the bot has no event for what it has sent
            await asyncio.sleep(0.2)


async def text_of(here: World, command: str, **options: str) -> str:
    result = await here.owner.slash(here.talk, command, **options)
    assert result.response is not None
    assert result.response.ephemeral
    return result.response.content


async def test_a_retraining_is_shown_confirmed_watched_and_swapped_in(store: Store, tiny_settings: Settings) -> None:
    async with running(store, tiny_settings) as here:
        assert "Nothing was trained" in await text_of(here, "retrain status")
        shown = await here.owner.slash(here.talk, "retrain start")
        assert shown.response is not None
        assert shown.response.ephemeral
        for part in ("own.jsonl (36 rows)", "3 steps of 8 rows", "of memory", "up to 12 rows", "It takes about"):
            assert part in shown.response.content
        assert here.said(here.talk) == []

        await here.owner.click(shown.response, label="Begin")
        job = await here.bot.retraining.under_way()
        assert job is not None
        assert here.said(here.talk)[0].startswith("**Retraining 1** · learning")
        seen: set[str] = set()
        await until(lambda: seen.add(here.said(here.talk)[0]) or "· in service" in here.said(here.talk)[0])  # type: ignore[func-returns-value]
        assert any("step 3 of 3" in text and "loss" in text and "█" in text for text in seen), seen
        assert any("Comparing it with" in text for text in seen)

        final = message(here, await here.bot.retraining.find(1))
        assert "In service now: retrain-1." in final.content
        assert "✅ perplexity: " in final.content
        assert "at most" in final.content
        assert final.components == []
        assert "**1** · in service" in await text_of(here, "retrain history")
        assert "In service now" in await text_of(here, "retrain status")
        assert "`retrain-1` · **in service**" in await text_of(here, "adapter list")
        assert never_pings(here.env) == []


class Asked(ScriptedEngine):
    """An engine whose adapter is exchanged while people speak: many before it has read the new one, and after."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.speak: Callable[[], None] = lambda: None

    async def use(self, adapter: Path | None) -> str | None:
        self.speak()
        name = await super().use(adapter)
        self.speak()
        return name


@pytest.mark.both_databases
async def test_while_fifty_are_answered_the_swap_loses_nothing_and_nothing_said_is_learned(
    store: Store, database_url: str, tiny_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    only_whole_on_a_server(database_url)
    roomy = tiny_settings.model_copy(update={"channel_queue": 1000})
    canary = "zanzibar-canary-4711"
    # In two channels and three times: 72 and 1,002 messages.
    at_once = count(12, 167) if on_sqlite(database_url) else 12
    engine = Asked()
    async with running(store, roomy, engine) as here:
        asked: dict[int, list[str]] = {here.talk.id: [], here.other.id: []}

        def speak() -> None:
            for number in range(at_once):
                for channel, texts in asked.items():
                    texts.append(f"{canary} {number} of {len(texts)}")
                    here.env.backend.create_message(channel, here.guest.id, texts[-1])

        engine.speak = speak
        for channel in (here.talk, here.other):
            about, facts = f"I am {canary}.", f"I have {canary}."
            await here.owner.slash(channel, "persona set", name="Vera", about=about, facts=facts)
        speak()
        await here.env.settle()
        job, _ = await begin(here)
        job = await here.bot.retraining.ended(job.number)
        assert job.state is State.PROMOTED
        await here.env.settle()
        for channel in (here.talk, here.other):
            answered = [text for text in here.said(channel) if text.startswith("Vera heard")]
            assert [text.rpartition(" (")[0] for text in answered] == [
                f"Vera heard: {text}" for text in asked[channel.id]
            ]
        assert sum(map(len, asked.values())) == 6 * at_once

    with store.reading() as connection:
        made_by = list(connection.exec_driver_sql("SELECT adapter FROM replies ORDER BY id").scalars())
    assert len(made_by) == 6 * at_once
    swapped = made_by.index(engine.adapter)
    assert 2 * at_once <= swapped <= 4 * at_once
    assert set(made_by[:swapped]) == {None}
    assert set(made_by[swapped:]) == {engine.adapter}
    assert str(engine.adapter).startswith("retrain-1@")

    assert job.run_folder is not None
    given = [Path(job.run_folder), tiny_settings.data_dir / "training", tiny_settings.data_dir / "adapters"]
    files = [file for folder in given for file in folder.rglob("*") if file.is_file()]
    assert {"held_out.jsonl", "data.json", "yardstick.jsonl", "own.jsonl", "card.json"} <= {file.name for file in files}
    assert [file for file in files if canary.encode() in file.read_bytes()] == []
    assert canary not in caplog.text
    record("G2", database=kind_of(database_url), messages=6 * at_once, files=len(files), canaries=0)


async def test_only_those_who_run_the_bot_may(store: Store, tiny_settings: Settings) -> None:
    async with running(store, tiny_settings) as here:
        commands = here.guest.available_commands(here.talk)
        for command in (name for name in commands if name.startswith(("retrain", "adapter"))):
            options = {"name": "none"} if command == "adapter use" else {}
            result = await here.guest.slash(here.talk, command, **options)
            assert result.response is not None
            assert result.response.ephemeral
            assert result.response.content == REFUSAL
        assert store.jobs.newest(1) == ()
        assert store.services(1) == ()
        assert await here.guest.autocomplete(here.talk, "adapter use", "name", "") == []

        # A server's owner is nobody special, until the settings name them.
        here.bot.admins._ids.discard(here.owner.id)
        assert await text_of(here, "retrain status") == REFUSAL


async def test_the_settings_name_further_admins(store: Store, tiny_settings: Settings) -> None:
    async with running(store, tiny_settings) as here:
        guest = here.guest.id
    named = tiny_settings.model_copy(update={"admin_ids": (guest,)})
    async with running(store, named) as here:
        assert here.guest.id == guest
        result = await here.guest.slash(here.talk, "retrain status")
        assert result.response is not None
        assert "Nothing was trained" in result.response.content


async def test_a_plan_that_is_left_begins_nothing(store: Store, tiny_settings: Settings) -> None:
    async with running(store, tiny_settings) as here:
        shown = await here.owner.slash(here.talk, "retrain start")
        assert shown.response is not None
        await here.owner.click(shown.response, label="Leave it")
        assert shown.response.content == "Nothing was begun."
        assert shown.response.components == []
        assert store.jobs.newest(1) == ()


async def test_the_cancel_button_is_for_admins_and_cancels(store: Store, tiny_settings: Settings) -> None:
    long = tiny_settings.model_copy(update={"retrain_steps": 300})
    async with running(store, long) as here:
        job, shown = await begin(here)
        refused = await here.guest.click(shown, label="Cancel")
        assert refused.response is not None
        assert (refused.response.content, refused.response.ephemeral) == (REFUSAL, True)
        busy = await here.owner.slash(here.talk, "retrain start")
        assert busy.response is not None
        assert "Retraining 1 is under way" in busy.response.content

        await until(lambda: "step " in message(here, job).content)
        child = (await here.bot.retraining.find(job.number)).child
        assert child is not None
        assert child.alive
        pressed = await here.owner.click(message(here, job), label="Cancel")
        assert pressed.response is not None
        assert pressed.response.content == "It is being cancelled."
        ended = await here.bot.retraining.ended(job.number)
        assert ended.state is State.CANCELLED
        assert not child.alive
        await until(lambda: "Cancelled." in message(here, job).content)
        assert message(here, job).components == []
        assert await text_of(here, "retrain cancel") == NOTHING
        assert store.services(1) == ()


async def test_a_message_that_is_gone_stops_nothing(store: Store, tiny_settings: Settings) -> None:
    long = tiny_settings.model_copy(update={"retrain_steps": 300})
    async with running(store, long) as here:
        job, shown = await begin(here)
        await here.owner.delete(shown)
        await until(lambda: (found := store.jobs.find(job.number)) is not None and found.step > 1)
        await text_of(here, "retrain cancel")
        assert (await here.bot.retraining.ended(job.number)).state is State.CANCELLED
        await until(lambda: store.jobs.to_show() == ())


async def test_where_the_bot_may_not_write_the_retraining_begins_all_the_same(
    store: Store, tiny_settings: Settings
) -> None:
    long = tiny_settings.model_copy(update={"retrain_steps": 300})
    async with running(store, long) as here:
        shown = await here.owner.slash(here.talk, "retrain start")
        assert shown.response is not None
        here.env.inject_error("POST", f"/channels/{here.talk.id}/messages", status=403, code=50013)
        await here.owner.click(shown.response, label="Begin")
        assert "I cannot write into this channel" in shown.response.content
        assert "learning" in await text_of(here, "retrain status")
        assert "is being cancelled" in await text_of(here, "retrain cancel")
        assert (await here.bot.retraining.ended(1)).state is State.CANCELLED


async def test_after_a_restart_the_message_says_that_it_was_interrupted(store: Store, tiny_settings: Settings) -> None:
    long = tiny_settings.model_copy(update={"retrain_steps": 300})
    async with world(store, long, check_errors=False) as here:
        here.bot.admins.add(here.owner.id)
        async with retraining_in(here.bot):
            job, _ = await begin(here)
        assert (await here.bot.retraining.find(job.number)).state is State.INTERRUPTED
        assert "Interrupted." in message(here, job).content

        # A bot that was killed could edit nothing; the next one does.
        with store.writing() as connection:
            connection.exec_driver_sql("UPDATE jobs SET shown = 'training'")
        await here.bot.announcer.post(here.talk.id, job)
        async with retraining_in(here.bot):
            await until(lambda: store.jobs.to_show() == ())
        edited = message(here, await here.bot.retraining.find(job.number))
        assert "Interrupted." in edited.content
        assert edited.components == []


async def test_the_cancel_button_works_after_a_restart_of_the_bot(store: Store, tiny_settings: Settings) -> None:
    async with world(store, tiny_settings, check_errors=False) as here:
        job = store.jobs.begin(Order("x", (), steps=9, seed=1, channel_id=here.talk.id), this_process())
        assert job is not None
        await here.bot.announcer.post(here.talk.id, job)

        restarted = make_bot(store, tiny_settings)
        restarted.admins.add(here.owner.id)
        await here.env.restart_bot(restarted)
        shown = message(here, await restarted.retraining.find(job.number))
        refused = await here.guest.click(shown, label="Cancel")
        assert refused.response is not None
        assert refused.response.content == REFUSAL
        assert not (await restarted.retraining.find(job.number)).cancel_asked
        pressed = await here.owner.click(shown, label="Cancel")
        assert pressed.response is not None
        assert pressed.response.content == "It is being cancelled."
        assert (await restarted.retraining.find(job.number)).cancel_asked


async def test_adapters_are_chosen_and_taken_back(two: Registry, store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(echo)
    async with running(store, settings.model_copy(update={"base": "embedded"}), engine) as here:
        choices = await here.owner.autocomplete(here.talk, "adapter use", "name", "")
        assert [choice["value"] for choice in choices] == ["none", "two", "one"]
        assert await text_of(here, "adapter use", name="two") == "In service now: two."
        assert two.in_service() == "two"
        assert str(engine.adapter).startswith("two@")
        assert await text_of(here, "adapter rollback") == "In service again: one."
        assert str(engine.adapter).startswith("one@")
        assert await text_of(here, "adapter use", name="none") == "In service now: the plain base."
        assert engine.adapter is None
        assert "There is no adapter three" in await text_of(here, "adapter use", name="three")
        assert "cannot be an adapter's name" in await text_of(here, "adapter use", name="../one")
        assert two.in_service() is None

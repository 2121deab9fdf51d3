"""Whatever people do with messages and replies: what the model reads is what stands in the channel."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings, load_settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import World, fill, told, world
from tests.postgres import Postgres

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))

TEXTS = st.text("abc é🦜", min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
WHICH = st.integers(0, 50)


class Channel(RuleBasedStateMachine):
    """A channel in which one person talks with a persona, changes what was said, and takes it back.

    `database` makes a new one for as long as the block is open, and gives its URL.
    """

    def __init__(self, database: Callable[[], AbstractContextManager[str]]) -> None:
        super().__init__()
        self.databases = ExitStack()
        self.url = self.databases.enter_context(database())

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.reset_before: set[int] = set()  # questions that a reset took, by Discord's id
        self.last_reset: set[int] = set()
        self.parts: dict[int, list[int]] = {}  # messages that were answered together, by the last one's id
        chosen = load_settings(data_dir=Path(self.folder.name), burst_s=0.02)
        upgrade(self.url)
        self.store = Store(open_database(self.url))
        self.loop = asyncio.new_event_loop()
        self.jobs: asyncio.Queue[tuple[Any, asyncio.Future[Any]] | None] = asyncio.Queue()
        opened = self.loop.create_future()
        # One task does everything: the simulator's clock belongs to the task that opened it.
        self.running = self.loop.create_task(self.run(chosen, opened))
        self.here: World = self.loop.run_until_complete(opened)
        self.do(self.here.seat(VERA))

    async def run(self, chosen: Settings, opened: asyncio.Future[World]) -> None:
        numbers = count(1)
        engine = ScriptedEngine(lambda request: f"{request.dialogue[-1].text} -> {next(numbers)}")
        async with world(self.store, chosen, engine) as here:
            opened.set_result(here)
            while (job := await self.jobs.get()) is not None:
                awaitable, done = job
                try:
                    done.set_result(await awaitable)
                except BaseException as error:
                    done.set_exception(error)
            here.env._errors_acknowledged = here.env.error_cursor  # an undo with nothing to undo is one

    def do(self, awaitable: Any) -> Any:
        done = self.loop.create_future()
        self.jobs.put_nowait((awaitable, done))
        return self.loop.run_until_complete(done)

    @property
    def replies(self) -> list[Any]:
        """The replies that stand in the channel."""
        me = self.here.bot.user
        assert me is not None
        return [message for message in self.here.talk.history() if message.author.id == me.id and message.reference]

    @property
    def questions(self) -> list[Any]:
        return [message for message in self.here.talk.history() if message.author.id == self.here.guest.id]

    @rule(text=TEXTS)
    def say(self, text: str) -> None:
        self.do(self.here.guest.send(self.here.talk, text))

    @rule(texts=st.lists(TEXTS, min_size=2, max_size=3))
    def say_in_a_row(self, texts: list[str]) -> None:
        ids = self.do(self.here.post_at_once(self.here.talk, [self.here.guest.id] * len(texts), texts))
        answered = {reply.reference.message_id for reply in self.replies}
        together: list[int] = []
        for message_id in ids:
            together.append(message_id)
            if message_id in answered:
                self.parts[message_id], together = together, []
        assert not together, "the last one is always answered"

    @precondition(lambda self: self.live())
    @rule(which=WHICH)
    def another_version(self, which: int) -> None:
        self.do(self.here.guest.click(self.pick(which), label="🔁"))

    @precondition(lambda self: self.live())
    @rule(which=WHICH, label=st.sampled_from("◀▶"))
    def turn(self, which: int, label: str) -> None:
        reply = self.pick(which)
        if any(not child.disabled for row in reply.components for child in row.children if child.label == label):
            self.do(self.here.guest.click(reply, label=label))

    @precondition(lambda self: self.live())
    @rule(which=WHICH, text=TEXTS)
    def write_instead(self, which: int, text: str) -> None:
        form = self.do(self.here.guest.context_menu(self.here.talk, "Edit this reply", self.pick(which)))
        self.do(fill(self.here.guest, form, text))

    @precondition(lambda self: self.live())
    @rule(which=WHICH)
    def delete_by_menu(self, which: int) -> None:
        (line,) = told(self.do(self.here.guest.context_menu(self.here.talk, "Delete this reply", self.pick(which))))
        assert "forgotten" in line.content

    @precondition(lambda self: self.replies)
    @rule(which=WHICH)
    def delete_reply(self, which: int) -> None:
        self.do(self.here.owner.delete(self.replies[which % len(self.replies)]))

    @precondition(lambda self: self.questions)
    @rule(which=WHICH)
    def take_back(self, which: int) -> None:
        self.do(self.here.guest.delete(self.questions[which % len(self.questions)]))

    @precondition(lambda self: self.questions)
    @rule(which=WHICH, text=TEXTS)
    def rephrase(self, which: int, text: str) -> None:
        self.do(self.here.guest.edit(self.questions[which % len(self.questions)], text))

    @rule()
    def reset(self) -> None:
        (line,) = told(self.do(self.here.owner.slash(self.here.talk, "chat reset")))
        if "nothing here" not in line.content:
            # Of messages that were answered together the last one may be gone, and an earlier one there.
            said = {message.id for message in self.questions} | {one.reference.message_id for one in self.replies}
            self.last_reset = said - self.reset_before
            self.reset_before |= self.last_reset

    @rule()
    def undo_reset(self) -> None:
        (line,) = told(self.do(self.here.owner.slash(self.here.talk, "chat undo")))
        if "remember again" in line.content:
            self.reset_before -= self.last_reset
            self.last_reset = set()

    def live(self) -> bool:
        return bool(self._live())

    def _live(self) -> list[Any]:
        """The replies whose question still stands: of the others nothing is known any more."""
        there = {message.id for message in self.questions}
        return [reply for reply in self.replies if there.intersection(self.asked_in(reply))]

    def asked_in(self, reply: Any) -> list[int]:
        """The messages that a reply answers, as long as they stand or not."""
        return self.parts.get(reply.reference.message_id, [reply.reference.message_id])

    def pick(self, which: int) -> Any:
        return self._live()[which % len(self._live())]

    @invariant()
    def what_stands_there_is_what_is_read(self) -> None:
        asked = {message.id: message for message in self.questions}
        visible = []
        for reply in sorted(self._live(), key=lambda reply: reply.reference.message_id):
            if reply.reference.message_id not in self.reset_before:
                said = [asked[message_id].content for message_id in self.asked_in(reply) if message_id in asked]
                visible += [" ".join(" ".join(said).split()), reply.content]
        place = self.here.place(self.here.talk)
        read = [turn.text for turn in self.do(self.here.bot.chat.history(place, 100))]
        assert read == visible
        prompt, remembered = self.do(self.here.bot.answered._rework.context(place))
        assert remembered == len(visible)
        assert all(text.strip('"') in prompt.text or '"' in text for text in visible)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.jobs.put_nowait(None)
            self.loop.run_until_complete(self.running)
            self.loop.close()
            self.store.close()
            self.folder.cleanup()
        self.databases.close()


@contextmanager
def sqlite_file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield default_url(Path(folder))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_is_read_is_what_is_seen(kind: str, request: pytest.FixtureRequest) -> None:
    @contextmanager
    def on_server() -> Iterator[str]:
        name = server.with_all_tables()
        yield server.url(name)
        server.drop(name)

    if kind == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
    database = on_server if kind == "postgres" else sqlite_file
    examples = settings(max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: Channel(database), settings=examples)  # type: ignore[no-untyped-call]

"""Retraining with the real trainer, on a base that is trained in a moment: what is done, and what ends it."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineResting, InputError, TrainingFailed
from persona_chat.process import Process
from persona_chat.retraining.plan import Plan
from persona_chat.retraining.program import LINE_BYTES, run_program
from persona_chat.retraining.retraining import Retraining
from persona_chat.settings import Settings
from persona_chat.store.jobs import Job, State
from persona_chat.swap import PINNED
from tests.model_fixtures import HELLO, VERA
from tests.torture import count, record
from tests.training_fixtures import Workshop, write_rows

pytestmark = pytest.mark.timeout(900)


async def done(retraining: Retraining, during: Callable[[Job], Any] | None = None, **options: Any) -> Job:
    """Do a retraining to its end; `during` is told of the job when it has begun."""
    plan = await retraining.plan(**options)
    async with retraining.working():
        job = await retraining.start(plan)
        if during is not None:
            await during(job)
        return await retraining.ended(job.number)


async def child_of(retraining: Retraining, job: Job) -> Process:
    """Wait until the job runs a program, and return which."""
    while (child := (await retraining.find(job.number)).child) is None:  # noqa: ASYNC110  it may run in any process
        await asyncio.sleep(0.1)
    return child


async def test_data_that_is_none_fails_with_the_trainers_words(workshop: Workshop) -> None:
    write_rows(workshop.settings.data_dir / "training" / "own.jsonl", [{"question": "?", "answer": "!"}] * 30)
    job = await done(workshop.retraining)
    assert job.state is State.FAILED
    assert job.reason is not None
    assert "own.jsonl, row 1: the field `dialogue` is missing" in job.reason
    assert workshop.store.services(1) == ()
    assert workshop.store.jobs.under_way() is None


KILLED = "The trainer was killed from outside; most often because memory ran out."


@pytest.mark.parametrize(
    ("state", "kills", "ends", "reason"),
    [
        (State.TRAINING, count(1, 13), State.FAILED, KILLED),
        (State.EVALUATING, 7, State.PARKED, f"It did not pass: it could not be compared. {KILLED}"),
    ][: count(1, 2)],
    ids=["training", "evaluating"][: count(1, 2)],
)
async def test_a_trainer_that_is_killed_ends_the_job_and_nothing_else(
    workshop: Workshop, state: State, kills: int, ends: State, reason: str
) -> None:
    async def kill(job: Job) -> None:
        while (job := await workshop.retraining.find(job.number)).state is not state or job.child is None:
            assert job.reason is None  # it has not ended
            await asyncio.sleep(0.05)
        await asyncio.sleep(chance.uniform(0, count(0, 2)) if state is State.TRAINING else 0)
        os.kill(job.child.pid, signal.SIGKILL)

    chance = Random(3)
    for _kill in range(kills):  # after each one the next can begin
        job = await done(workshop.retraining, kill)
        assert (job.state, job.reason) == (ends, reason)
        assert job.child is None
        assert workshop.store.services(1) == ()
    record(f"B3 trainer, {state}", kills=kills, **{ends: kills})


async def test_replies_pause_where_the_settings_say_so_and_go_on_afterwards(
    workshop: Workshop, settings: Settings
) -> None:
    engine = ScriptedEngine(lambda _: "Hello.")
    pausing = workshop.settings.model_copy(update={"retrain_pause_replies": True})
    retraining = Retraining(pausing, workshop.store, workshop.registry, engine)
    asked: list[Job] = []

    async def ask(job: Job) -> None:
        await child_of(retraining, job)
        with pytest.raises(EngineResting):
            await engine.reply(ReplyRequest(VERA, HELLO))
        asked.append(job)
        await retraining.cancel(job.number)

    job = await done(retraining, ask)
    assert job.state is State.CANCELLED
    assert len(asked) == 1
    assert (await engine.reply(ReplyRequest(VERA, HELLO))).text == "Hello."


async def test_one_is_under_way_at_a_time(workshop: Workshop) -> None:
    other = Retraining(workshop.settings, workshop.store, workshop.registry)
    plan: Plan = await other.plan()

    async def again(job: Job) -> None:
        for attempt in (other.plan(), other.start(plan)):
            with pytest.raises(InputError, match=f"Retraining {job.number} is under way"):
                await attempt
        await other.cancel(job.number)

    assert (await done(workshop.retraining, again)).state is State.CANCELLED


async def test_what_has_ended_or_never_was_cannot_be_cancelled(workshop: Workshop) -> None:
    with pytest.raises(InputError, match="There is no retraining 1"):
        await workshop.retraining.cancel(1)

    async def cancel(job: Job) -> None:
        await workshop.retraining.cancel(job.number)

    job = await done(workshop.retraining, cancel)
    with pytest.raises(InputError, match="has ended already"):
        await workshop.retraining.cancel(job.number)


async def test_where_a_setting_names_the_adapter_the_candidate_is_parked(
    workshop: Workshop, make_workshop: Callable[[Settings], Workshop]
) -> None:
    pinned = make_workshop(workshop.settings.model_copy(update={"adapter": "none", "retrain_steps": 1}))
    job = await done(pinned.retraining)
    assert (job.state, job.reason) == (State.PARKED, PINNED)
    assert job.candidate == "retrain-1"
    entry = pinned.registry.show("retrain-1")
    assert not entry.in_service
    assert entry.scores == job.candidate_scores
    assert entry.scores["perplexity"]["value"] > 1
    assert "yardstick_perplexity" in entry.scores


# A program in the trainer's place: what the real one never says.
ODD = """
import os, sys
print("x" * {long})
print('{{"event": "odd", "padding": "' + "y" * {long} + '"}}')
print("[1, 2]")
print('{{"event": ')
sys.stdout.buffer.write(b'\\xff\\xfe\\n')
seen = os.environ.get("DISCORD_TOKEN"), os.environ["OMP_WAIT_POLICY"]
print('{{"event": "last", "token": "%s", "waits": "%s"}}' % seen)
print("the last words", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "odd" / "training"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(ODD.format(long=2 * LINE_BYTES))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("DISCORD_TOKEN", "secret")


async def test_odd_output_is_passed_over_and_the_token_is_not_handed_on(odd: None, tmp_path: Path) -> None:
    told: list[Mapping[str, Any]] = []
    processes: list[Process] = []

    async def hear(said: Mapping[str, Any]) -> None:
        told.append(said)

    async def started(process: Process) -> None:
        processes.append(process)

    with pytest.raises(TrainingFailed, match=r"ended with code 3\. Its last lines are in .*last\.txt"):
        await run_program([], tmp_path / "last.txt", hear, started)
    assert told == [{"event": "last", "token": "None", "waits": "PASSIVE"}]
    assert "the last words" in (tmp_path / "last.txt").read_text()
    assert not processes[0].alive
    assert processes[0].pid != os.getpid()

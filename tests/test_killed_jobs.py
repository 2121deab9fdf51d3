"""A process that owns a job is killed with -9: in training, while it compares, in the swap."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from persona_chat.bases import config_of
from persona_chat.process import Process
from persona_chat.registry import Registry
from persona_chat.retraining.retraining import Retraining
from persona_chat.store.database import default_url
from persona_chat.store.jobs import Job, Order, State
from persona_chat.store.store import Store
from tests.adapter_folders import make_adapter, write_card
from tests.postgres import kind_of, on_sqlite, only_whole_on_a_server
from tests.torture import count, record
from tests.training_fixtures import Workshop

pytestmark = pytest.mark.timeout(count(900, 3600))

ORPHAN_S = 5.0
KILLS = count(1, 7)
"""In each of three states; twenty in all."""

# What a bot does, without Discord. Its engine never comes back from the swap.
OWNER = """
import asyncio, json, sys
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.registry import Registry
from persona_chat.retraining.retraining import Retraining
from persona_chat.settings import Settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.store import Store


class Stuck(ScriptedEngine):
    async def use(self, adapter):
        await asyncio.sleep(3600)


async def main():
    settings = Settings(_env_file=None, **json.loads(sys.argv[1]))
    store = Store(open_database(settings.database_url or default_url(settings.data_dir)))
    registry = Registry(settings.data_dir, store, settings.base)
    retraining = Retraining(settings, store, registry, Stuck(lambda _: "Hello."))
    async with retraining.working():
        job = await retraining.start(await retraining.plan())
        await retraining.ended(job.number)


asyncio.run(main())
"""

# One that was killed after the pointer moved and before the job's end was noted.
SWAPPED = """
import os, signal, sys
from pathlib import Path
from persona_chat.process import this_process
from persona_chat.registry import Registry
from persona_chat.store.database import open_database
from persona_chat.store.jobs import Order, State
from persona_chat.store.store import Store

store = Store(open_database(sys.argv[1]))
job = store.jobs.begin(Order("embedded", ("own.jsonl",), steps=1, seed=1, in_service="one"), this_process())
store.jobs.go_on(job.number, State.PROMOTING)
Registry(Path(sys.argv[2]), store, "embedded").use("two", "retraining 1")
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def owner(shop: Workshop, **changes: object) -> Iterator[subprocess.Popen[bytes]]:
    settings = shop.settings.model_copy(update=changes)
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, settings.model_dump_json(include={*settings.model_fields_set, *changes})]
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def reached(store: Store, process: subprocess.Popen[bytes], there: Callable[[Job], bool]) -> Job:
    """Wait until the job is where it is to be killed."""
    while process.poll() is None:
        job = store.jobs.under_way()
        if job is not None and there(job):
            return job
        time.sleep(0.1)
    raise AssertionError("the owner ended")


def gone(child: Process) -> bool:
    deadline = time.monotonic() + ORPHAN_S
    while child.alive and time.monotonic() < deadline:
        time.sleep(0.05)
    return not child.alive


def put_in_service(workshop: Workshop) -> None:
    """An adapter that changes nothing, so that any candidate is as good."""
    base = workshop.settings.base
    folder = make_adapter(
        workshop.settings.data_dir / "before", made_for=base, config=config_of(base) or {}, strength=1e-9
    )
    write_card(folder, base=base)
    workshop.registry.import_(str(folder))
    workshop.registry.use("before")


@pytest.mark.both_databases
@pytest.mark.parametrize("state", [State.TRAINING, State.EVALUATING, State.PROMOTING])
def test_nothing_of_a_killed_job_runs_on_and_one_adapter_is_in_service(
    workshop: Workshop, database_url: str, state: State
) -> None:
    only_whole_on_a_server(database_url)
    if state is State.PROMOTING and not on_sqlite(database_url):
        pytest.skip("on PostgreSQL a swap is killed in tests/test_killed_swaps.py, line by line")
    kills = KILLS if on_sqlite(database_url) else 1

    def there(job: Job) -> bool:
        working = job.child is not None if state is not State.PROMOTING else True
        return job.state is state and working and (state is not State.TRAINING or job.step > 0)

    put_in_service(workshop)
    steps = 300 if state is State.TRAINING else 1
    for _kill in range(kills):  # after each one the next can begin
        with owner(workshop, retrain_steps=steps, database_url=database_url) as process:
            job = reached(workshop.store, process, there)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert job.child is None or gone(job.child)

        found = asyncio.run(workshop.retraining.recover())
        assert found is not None
        assert found.state is State.INTERRUPTED
        assert found.reason is not None
        assert f"while it was {state}" in found.reason
        assert found.run_folder is not None
        assert workshop.store.jobs.under_way() is None
        assert len(workshop.store.services(9)) == 1
        assert workshop.registry.in_service() == "before"
        asyncio.run(workshop.retraining.plan())
    record(f"B3 {state}", database=kind_of(database_url), kills=kills, outlived=0)


def test_killed_right_after_the_swap_the_new_adapter_is_the_one_in_service(
    two: Registry, store: Store, workshop: Workshop
) -> None:
    data_dir = workshop.settings.data_dir
    done = subprocess.run([sys.executable, "-c", SWAPPED, default_url(data_dir), str(data_dir)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert two.in_service() == "two"
    found = asyncio.run(Retraining(workshop.settings, store, two).recover())
    assert found is not None
    assert (found.state, found.reason) == (
        State.INTERRUPTED,
        "The program that ran it ended while it was promoting. In service is two.",
    )
    assert two.in_service() == "two"


def test_a_child_that_outlived_its_owner_is_ended(workshop: Workshop) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    from persona_chat.process import find_process

    process = find_process(child.pid)
    assert process is not None
    job = workshop.store.jobs.begin(Order("x", (), steps=1, seed=1), Process(child.pid, process.started - 60))
    assert job is not None
    workshop.store.jobs.note_child(job.number, process)
    assert asyncio.run(workshop.retraining.recover()) is not None
    assert child.wait(timeout=10) == -signal.SIGKILL


def test_a_job_whose_owner_lives_is_left_alone(workshop: Workshop) -> None:
    from persona_chat.process import this_process

    job = workshop.store.jobs.begin(Order("x", (), steps=1, seed=1), this_process())
    assert asyncio.run(workshop.retraining.recover()) is None
    assert workshop.store.jobs.under_way() == job


def test_a_program_that_is_still_reading_its_own_code_ends_with_its_owner() -> None:
    """That takes long where the machine has much to do: an orphan would live for so long."""
    program = [sys.executable, "-X", "importtime", "-m", "training", "evaluate", "--adapter", "none", "--tied"]
    done = subprocess.run(program, input=b"", capture_output=True, timeout=120, check=False)
    assert done.returncode == 143
    assert b" training.evaluate_command" not in done.stderr, "it was read to its end"

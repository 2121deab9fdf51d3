"""Retrainings as they are kept: one at a time, what is noted of them, and how they end."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from persona_chat.process import Process, find_process, this_process
from persona_chat.store.database import open_database
from persona_chat.store.jobs import Job, Order, State
from persona_chat.store.store import Store

pytestmark = pytest.mark.both_databases

ORDER = Order(
    "embedded",
    ("dialogues.jsonl",),
    steps=4,
    seed=7,
    rows=24,
    in_service="default",
    requested_by=2**40,
    channel_id=2**41,
)

BEGIN = """
import sys
from persona_chat.process import this_process
from persona_chat.store.database import open_database
from persona_chat.store.jobs import Order
from persona_chat.store.store import Store
made = Store(open_database(sys.argv[1])).jobs.begin(Order("embedded", (), steps=1, seed=1), this_process())
print("refused" if made is None else made.number)
"""


def begun(store: Store, order: Order = ORDER) -> Job:
    job = store.jobs.begin(order, this_process())
    assert job is not None
    return job


def test_a_job_is_kept_as_it_was_asked_for(store: Store) -> None:
    job = begun(store)
    assert job.order == ORDER
    assert (job.state, job.step, job.loss, job.cancel_asked) == (State.TRAINING, 0, None, False)
    assert store.jobs.find(job.number) == store.jobs.under_way() == job
    assert job.owner == this_process()
    assert store.jobs.find(job.number + 1) is None


def test_of_jobs_that_begin_at_once_one_is_under_way(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: store.jobs.begin(ORDER, this_process()), range(8)))
    assert sum(job is not None for job in made) == 1


def test_another_process_cannot_begin_one_meanwhile_and_can_afterwards(store: Store, database_url: str) -> None:
    def elsewhere() -> str:
        command = [sys.executable, "-c", BEGIN, database_url]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    job = begun(store)
    assert elsewhere() == "refused\n"
    assert store.jobs.end(job.number, State.FAILED, "The disk is full.")
    assert int(elsewhere()) > job.number, "PostgreSQL also counts the one that was refused"


def test_what_is_noted_is_read_again(store: Store) -> None:
    job = begun(store)
    scores = {"perplexity": {"value": 3.5, "low": 3.1, "high": 3.9}}
    assert store.jobs.note(job.number, step=3, loss=1.5, seconds_left=20.0, step_seconds=10.0, run_folder="runs/x")
    assert store.jobs.note(job.number, candidate="retrain-1", candidate_scores=scores, service_scores=scores)
    store.jobs.note_child(job.number, Process(4711, 12.5))
    store.jobs.note_message(job.number, 99)
    noted = store.jobs.find(job.number)
    assert noted is not None
    assert (noted.step, noted.loss, noted.seconds_left, noted.step_seconds) == (3, 1.5, 20.0, 10.0)
    assert (noted.run_folder, noted.candidate, noted.message_id) == ("runs/x", "retrain-1", 99)
    assert noted.candidate_scores == noted.service_scores == scores
    assert noted.child == Process(4711, 12.5)
    store.jobs.note_child(job.number, None)
    assert (again := store.jobs.find(job.number)) is not None
    assert again.child is None


@pytest.mark.parametrize("state", [state for state in State if not state.under_way])
def test_a_job_that_ended_stays_as_it_ended(store: Store, state: State) -> None:
    job = begun(store)
    assert store.jobs.end(job.number, state, "why")
    assert not store.jobs.end(job.number, State.FAILED, "later")
    assert not store.jobs.note(job.number, step=4)
    assert not store.jobs.go_on(job.number, State.EVALUATING)
    assert not store.jobs.ask_to_cancel(job.number)
    ended = store.jobs.find(job.number)
    assert ended is not None
    assert (ended.state, ended.reason, ended.step) == (state, "why", 0)
    assert ended.ended_at is not None
    assert store.jobs.under_way() is None


def test_who_was_asked_to_cancel_goes_no_further(store: Store) -> None:
    job = begun(store)
    assert store.jobs.go_on(job.number, State.EVALUATING)
    assert store.jobs.ask_to_cancel(job.number)
    assert not store.jobs.go_on(job.number, State.PROMOTING)
    assert (asked := store.jobs.under_way()) is not None
    assert (asked.cancel_asked, asked.state) == (True, State.EVALUATING)


def test_a_swap_that_has_begun_cannot_be_cancelled(store: Store) -> None:
    job = begun(store)
    assert store.jobs.go_on(job.number, State.PROMOTING)
    assert not store.jobs.ask_to_cancel(job.number)


def test_messages_are_edited_while_a_job_goes_on_and_once_more_when_it_ended(store: Store) -> None:
    quiet = begun(store)
    store.jobs.end(quiet.number, State.CANCELLED)
    job = begun(store)
    assert store.jobs.to_show() == ()
    store.jobs.note_message(job.number, 99)
    store.jobs.note_shown(job.number, State.TRAINING)
    assert [shown.number for shown in store.jobs.to_show()] == [job.number]
    store.jobs.end(job.number, State.PARKED)
    assert [shown.state for shown in store.jobs.to_show()] == [State.PARKED]
    store.jobs.note_shown(job.number, State.PARKED)
    assert store.jobs.to_show() == ()


def test_the_last_job_on_the_base_says_how_long_a_step_takes(store: Store) -> None:
    assert store.jobs.pace("embedded") is None
    for base, seconds in (("embedded", 15.0), ("owner/large", 60.0), ("embedded", None)):
        job = begun(store, Order(base, (), steps=1, seed=1))
        store.jobs.note(job.number, step_seconds=seconds)
        store.jobs.end(job.number, State.PARKED)
    assert store.jobs.pace("embedded") == 15.0
    assert [job.order.base for job in store.jobs.newest(2)] == ["embedded", "owner/large"]


def test_jobs_survive_a_restart(store: Store, database_url: str) -> None:
    job = begun(store)
    other = Store(open_database(database_url))
    assert other.jobs.under_way() == job
    other.close()


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    me = this_process()
    assert me.alive
    assert not Process(me.pid, me.started - 60).alive
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    found = find_process(child.pid)
    assert found is not None
    assert found.alive
    Process(found.pid, found.started - 60).end()
    assert found.alive
    found.end()
    child.wait(timeout=10)
    assert not found.alive
    child.communicate()

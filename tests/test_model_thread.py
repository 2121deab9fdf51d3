"""The model thread: every caller gets an answer, whatever happens to the thread."""

import asyncio
import threading
import time

import pytest

from persona_chat.engine.thread import ModelThread
from persona_chat.errors import EngineBusy, EngineFailed, InputError


@pytest.fixture
def thread():
    thread = ModelThread(queue_size=2)
    yield thread
    thread.close()
    assert thread.join(5)


async def busy(thread: ModelThread, until: threading.Event) -> asyncio.Future[bool]:
    """Occupy the thread until the event; the job has begun when this returns."""
    begun = threading.Event()

    def job() -> bool:
        begun.set()
        return until.wait(10)

    future = thread.submit(job)
    assert await asyncio.to_thread(begun.wait, 10)
    return future


async def test_jobs_run_in_order_on_one_thread_that_is_not_the_callers(thread):
    order: list[tuple[int, int]] = []
    jobs = [thread.submit(lambda n=n: order.append((n, threading.get_ident()))) for n in range(2)]
    await asyncio.gather(*jobs)
    assert [number for number, _ in order] == [0, 1]
    assert {ident for _, ident in order} != {threading.get_ident()}
    assert len({ident for _, ident in order}) == 1


@pytest.mark.parametrize(
    ("error", "seen"), [(InputError("no"), InputError), (StopIteration(), EngineFailed)], ids=["ours", "stop"]
)
async def test_what_a_job_raises_reaches_its_awaiter_and_the_thread_goes_on(thread, error, seen):
    def job() -> None:
        raise error

    with pytest.raises(seen):
        await asyncio.wait_for(thread.submit(job), 5)
    assert await thread.submit(lambda: "next") == "next"


async def test_one_more_than_the_queue_holds_is_told_that_it_is_busy(thread):
    release = threading.Event()
    running = await busy(thread, release)
    waiting = [thread.submit(lambda: "done") for _ in range(2)]
    assert thread.waiting() == 2
    with pytest.raises(EngineBusy):
        thread.submit(lambda: "too many")
    release.set()
    assert await asyncio.gather(running, *waiting) == [True, "done", "done"]


async def test_closing_answers_everyone_who_waits_at_once(thread):
    release = threading.Event()
    running = await busy(thread, release)
    waiting = [thread.submit(lambda: "never") for _ in range(2)]
    thread.close()
    outcomes = await asyncio.wait_for(asyncio.gather(running, *waiting, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed] * 3
    release.set()
    with pytest.raises(EngineFailed):
        thread.submit(lambda: "after")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_answers_everyone_and_says_so_afterwards(thread):
    def die() -> None:
        time.sleep(0.05)
        raise SystemExit

    jobs = [thread.submit(die), thread.submit(lambda: "never")]
    outcomes = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed] * 2
    assert thread.join(5)
    with pytest.raises(EngineFailed):
        thread.submit(lambda: "after")


async def test_a_cancelled_job_that_still_waits_is_never_begun(thread):
    release, begun = threading.Event(), threading.Event()
    running = await busy(thread, release)
    cancelled = thread.submit(begun.set)
    cancelled.cancel()
    release.set()
    await running
    await thread.submit(lambda: None)
    assert not begun.is_set()


def test_a_job_that_ends_after_its_event_loop_harms_nobody(thread):
    release = threading.Event()

    async def leave() -> None:
        await busy(thread, release)

    asyncio.run(leave())
    release.set()

    async def next_one() -> str:
        return await thread.submit(lambda: "next")

    assert asyncio.run(next_one()) == "next"

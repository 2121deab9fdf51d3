"""The model thread: every caller gets an answer, whatever happens to the thread, and nobody waits for one channel."""

import asyncio
import threading
import time
from collections import Counter

import pytest

from persona_chat.engine.line import Asked
from persona_chat.engine.thread import ModelThread
from persona_chat.errors import EngineBusy, EngineFailed, InputError


class Steps:
    """Work whose jobs are numbers of steps; `together` are done at once. It notes when each began and ended."""

    def __init__(self, together: int = 2) -> None:
        self.together = together
        self.under_way: list[tuple[Asked[int], list[int]]] = []
        self.began: list[object] = []
        self.gate = threading.Event()
        self.gate.set()

    def served(self) -> Counter[object]:
        return Counter(asked.owner for asked, _ in list(self.under_way))

    def takes(self) -> bool:
        return len(self.under_way) < self.together

    def begin(self, asked: Asked[int]) -> None:
        if asked.job < 0:
            raise ValueError("a job that cannot be begun")
        self.began.append(asked.owner)
        self.under_way.append((asked, [asked.job]))

    def turn(self) -> None:
        assert self.gate.wait(10)
        for one in list(self.under_way):
            asked, left = one
            left[0] -= 1
            if left[0] <= 0:
                self.under_way.remove(one)
                asked.promise.keep(asked.owner)

    def break_all(self) -> None:
        under_way, self.under_way = self.under_way, []
        for asked, _ in under_way:
            asked.promise.fail(EngineFailed())


@pytest.fixture
def work() -> Steps:
    return Steps()


@pytest.fixture
def thread(work):
    thread = ModelThread(4, work)
    yield thread
    work.gate.set()
    thread.close()
    assert thread.join(5)


async def busy(thread: ModelThread, until: threading.Event) -> asyncio.Future[bool]:
    """Occupy the thread until the event; the call has begun when this returns."""
    begun = threading.Event()

    def call() -> bool:
        begun.set()
        return until.wait(10)

    future = thread.submit(call)
    assert await asyncio.to_thread(begun.wait, 10)
    return future


def ask(thread: ModelThread, owner: object, steps: int = 1, placed=None) -> asyncio.Future[object]:
    asked = Asked(owner, steps, placed)
    thread.ask(asked)
    return asked.promise.future


async def test_calls_run_in_order_on_one_thread_that_is_not_the_callers(thread):
    order: list[tuple[int, int]] = []
    calls = [thread.submit(lambda n=n: order.append((n, threading.get_ident()))) for n in range(2)]
    await asyncio.gather(*calls)
    assert [number for number, _ in order] == [0, 1]
    assert {ident for _, ident in order} != {threading.get_ident()}
    assert len({ident for _, ident in order}) == 1


@pytest.mark.parametrize(
    ("error", "seen"), [(InputError("no"), InputError), (StopIteration(), EngineFailed)], ids=["ours", "stop"]
)
async def test_what_a_call_raises_reaches_its_awaiter_and_the_thread_goes_on(thread, error, seen):
    def call() -> None:
        raise error

    with pytest.raises(seen):
        await asyncio.wait_for(thread.submit(call), 5)
    assert await thread.submit(lambda: "next") == "next"


async def test_a_short_job_does_not_wait_for_a_long_one_beside_it(thread):
    ended: list[object] = []
    jobs = [ask(thread, "long", 50), ask(thread, "short", 2), ask(thread, "next", 2)]
    for job in jobs:
        job.add_done_callback(lambda job: ended.append(job.result()))
    await asyncio.wait_for(asyncio.gather(*jobs), 5)
    assert ended == ["short", "next", "long"]


async def test_a_burst_of_one_channel_lets_the_others_go_first(thread, work):
    work.together = 1
    release = threading.Event()
    running = await busy(thread, release)
    places: dict[object, list[int]] = {"b": []}
    jobs = [ask(thread, "a") for _ in range(3)]
    jobs.append(ask(thread, "b", placed=places["b"].append))
    with pytest.raises(EngineBusy):
        ask(thread, "too many")
    release.set()
    await asyncio.wait_for(asyncio.gather(running, *jobs), 5)
    assert work.began == ["a", "b", "a", "a"]
    assert places["b"] == [2, 1]


async def test_one_more_than_the_queue_holds_is_told_that_it_is_busy_and_one_that_leaves_makes_room(thread):
    release = threading.Event()
    running = await busy(thread, release)
    waiting = [Asked(number, 1) for number in range(4)]
    for asked in waiting:
        thread.ask(asked)
    assert thread.waiting() == 4
    with pytest.raises(EngineBusy):
        ask(thread, "too many")
    thread.withdraw(waiting[1])
    last = ask(thread, "last")
    release.set()
    assert await asyncio.wait_for(last, 5) == "last"
    await running
    assert not waiting[1].promise.future.done()


async def test_a_call_after_all_waits_for_those_before_it_and_those_after_it_wait(thread, work):
    order: list[object] = []
    work.gate.clear()
    before = [ask(thread, "one", 3), ask(thread, "two", 1), ask(thread, "three", 1)]
    call = thread.submit(lambda: order.append(list(work.began)), after_all=True)
    after = [ask(thread, "four", 1)]
    work.gate.set()
    await asyncio.wait_for(asyncio.gather(*before, call, *after), 5)
    assert order == [["one", "two", "three"]]
    assert work.began == ["one", "two", "three", "four"]


async def test_closing_answers_everyone_who_waits_at_once(thread, work):
    work.gate.clear()
    under_way = [ask(thread, "one"), ask(thread, "two")]
    await asyncio.sleep(0.05)
    waiting = [ask(thread, "three"), thread.submit(lambda: "never", after_all=True)]
    thread.close()
    outcomes = await asyncio.wait_for(asyncio.gather(*under_way, *waiting, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes] == [EngineFailed] * 4
    work.gate.set()
    with pytest.raises(EngineFailed):
        thread.submit(lambda: "after")
    with pytest.raises(EngineFailed):
        ask(thread, "after")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["call", "turn"])
async def test_a_thread_that_dies_answers_everyone_and_says_so_afterwards(thread, work, monkeypatch, where):
    def die() -> None:
        time.sleep(0.05)
        raise SystemExit

    if where == "turn":
        monkeypatch.setattr(work, "turn", die)
    release = threading.Event()
    running = await busy(thread, release)
    jobs = [ask(thread, "one"), ask(thread, "two")]
    if where == "call":
        jobs.append(thread.submit(die))
    release.set()
    outcomes = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)
    assert [type(outcome) for outcome in outcomes if outcome not in ("one", "two")] == [EngineFailed] * (
        2 if where == "turn" else 3
    )
    await running
    assert thread.join(5)
    assert not thread.alive
    with pytest.raises(EngineFailed):
        thread.submit(lambda: "after")


async def test_a_step_that_raises_fails_those_under_way_and_the_thread_goes_on(thread, work):
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(ask(thread, "cannot", -1), 5)
    assert await asyncio.wait_for(ask(thread, "next"), 5) == "next"


async def test_a_step_that_hangs_is_seen(thread, work):
    assert thread.stuck_for() == 0
    work.gate.clear()
    job = ask(thread, "one")
    await asyncio.sleep(0.1)
    assert 0.05 < thread.stuck_for() < 5
    work.gate.set()
    await asyncio.wait_for(job, 5)
    await thread.submit(lambda: None)
    assert thread.stuck_for() == 0


async def test_a_cancelled_call_that_still_waits_is_never_begun(thread):
    release, begun = threading.Event(), threading.Event()
    running = await busy(thread, release)
    cancelled = thread.submit(begun.set)
    cancelled.cancel()
    release.set()
    await running
    await thread.submit(lambda: None)
    assert not begun.is_set()


def test_a_call_that_ends_after_its_event_loop_harms_nobody(thread):
    release = threading.Event()

    async def leave() -> None:
        await busy(thread, release)

    asyncio.run(leave())
    release.set()

    async def next_one() -> str:
        return await thread.submit(lambda: "next")

    assert asyncio.run(next_one()) == "next"

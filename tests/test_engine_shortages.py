"""Memory that does not suffice, a device that is lost, threads that hang and die, again and again: all are answered.

On a tiny base. What each of them does to the words of the real model is in `test_batch.py` and `test_engine_faults.py`.
"""

import asyncio
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from persona_chat.engine import batch, local
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import Reply, ReplyRequest, Sampling
from persona_chat.errors import EngineFailed
from tests.model_fixtures import HELLO, VERA, started
from tests.torture import count, record

TIMES = count(1, 10)
FAULTS = count(1, 5)
TOGETHER = 8
ASK = ReplyRequest(VERA, HELLO, Sampling(24, 0, whole=True))


@pytest.fixture(scope="module")
def shared(tiny_engine: Callable[..., LocalEngine]) -> Iterator[LocalEngine]:
    """One that is started, for tests that leave it as it was."""
    engine = tiny_engine(batch=TOGETHER)
    asyncio.run(engine.start())
    yield engine
    asyncio.run(engine.close())


async def ask(engine: LocalEngine, callers: int = TOGETHER) -> list[Reply | BaseException]:
    """Ask for replies in so many channels at once; nobody waits long."""
    asked = [engine.reply(replace(ASK, channel=number)) for number in range(callers)]
    return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)


def texts(outcomes: list[Reply | BaseException]) -> list[str | None]:
    return [one.text if isinstance(one, Reply) else None for one in outcomes]


def short_of_memory() -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")


def on_steps(engine: LocalEngine, act: Callable[[], object], first: int, last: float, rows: int = 1) -> None:
    """Do that in the steps from `first` to `last`, counting those that are of more than so many `rows` from 1 on."""
    decoder, steps = engine._writer.loaded.decoder, 0  # type: ignore[union-attr]
    before = type(decoder).step

    def step(ids: list[int], lengths: list[int], slot: int = 0) -> Any:
        nonlocal steps
        steps += len(ids) > rows
        if len(ids) > rows and first <= steps <= last:
            act()
        return before(decoder, ids, lengths, slot)

    decoder.step = step


@pytest.fixture
async def engine(shared: LocalEngine) -> AsyncIterator[LocalEngine]:
    """The shared one, all of whose rows are written at once."""
    shared._writer.loaded.batch._together = TOGETHER  # type: ignore[union-attr]
    yield shared
    vars(shared._writer.loaded.decoder).pop("step", None)  # type: ignore[union-attr]
    vars(shared._writer.loaded.decoder).pop("read", None)  # type: ignore[union-attr]


@pytest.mark.parametrize("token", [5, 1, 20][: count(1, 3)])
async def test_where_memory_is_short_the_same_is_said_by_fewer_at_once(engine: LocalEngine, token: int) -> None:
    """C4."""
    expected = texts(await ask(engine))
    for _ in range(TIMES):
        engine._writer.loaded.batch._together = TOGETHER  # type: ignore[union-attr]
        on_steps(engine, short_of_memory, token, token, rows=TOGETHER // 2)
        assert texts(await ask(engine)) == expected
        assert engine._writer.loaded.batch._together < TOGETHER  # type: ignore[union-attr]
    record(f"C4 at token {token}", shortages=TIMES, replies=TIMES * TOGETHER, failed=0, changed=0)


async def test_three_shortages_in_a_row_cost_no_reply_and_one_that_lasts_ends_with_it(engine: LocalEngine) -> None:
    """C4. Halved three times, eight are one at a time. Who is alone and finds no room gets a line, the next a reply."""
    expected, loaded = texts(await ask(engine)), engine._writer.loaded
    assert loaded is not None
    for _ in range(TIMES):
        loaded.batch._together = TOGETHER
        on_steps(engine, short_of_memory, 5, 7)
        assert texts(await ask(engine)) == expected
    together = loaded.batch._together
    for _ in range(TIMES):
        on_steps(engine, short_of_memory, 5, math.inf, rows=0)
        assert {type(one) for one in await ask(engine)} == {EngineFailed}
        on_steps(engine, lambda: None, 0, 0)
        assert texts(await ask(engine)) == expected
    assert engine._writer.loaded is loaded
    replies = TIMES * TOGETHER
    record("C4 three in a row", shortages=3 * TIMES, replies=replies, failed=0, changed=0, at_once_then=together)
    record("C4 that lasts", times=TIMES, politely_refused=replies, of_the_next_answered=replies)


async def test_a_prompt_that_finds_no_room_twice_is_refused_and_the_next_is_read(engine: LocalEngine) -> None:
    """C4, before there is a first token."""
    expected, decoder = texts(await ask(engine)), engine._writer.loaded.decoder  # type: ignore[union-attr]
    before, left = type(decoder).read, 0

    def read(*given: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            short_of_memory()
        return before(decoder, *given)

    decoder.read = read
    for shortages in (1, 2) * TIMES:
        left = shortages
        outcomes = await ask(engine)
        assert [type(one) for one in outcomes].count(EngineFailed) == shortages - 1
        assert texts(outcomes)[1:] == expected[1:]
    record("C4 while a prompt is read", shortages=3 * TIMES, refused=TIMES, of_others_failed=0)


async def answers_again(engine: LocalEngine) -> list[str | None]:
    """What is said as soon as it answers again."""
    async with asyncio.timeout(60):
        while (said := texts(await ask(engine, 1))) == [None]:  # noqa: ASYNC110  the thread tells nobody
            await asyncio.sleep(0.02)
    return said


def dies() -> None:
    sys.exit()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fault", ["death", "hang"])
async def test_all_are_answered_each_time_that_the_thread_dies_or_hangs(
    tiny_engine: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """C5. Each time the model is begun again, and says what it said."""
    monkeypatch.setattr(local, "LOOK_S", 0.02)
    monkeypatch.setattr(local, "HANG_S", 1.0)
    release, slowest_s = threading.Event(), 0.0
    async with started(tiny_engine(batch=TOGETHER)) as engine:
        expected = texts(await ask(engine, 1))
        for number in range(FAULTS):
            on_steps(engine, dies if fault == "death" else lambda: release.wait(60), 3 + number, 3 + number)
            thread, began = engine._thread, time.perf_counter()
            outcomes = await ask(engine, 2 * TOGETHER)
            slowest_s = max(slowest_s, time.perf_counter() - began)
            assert {type(one) for one in outcomes} == {EngineFailed}
            assert await answers_again(engine) == expected
            assert engine._thread is not thread
        assert not engine.lost.is_set()
        release.set()
    callers = FAULTS * 2 * TOGETHER
    record(f"C5 {fault}", times=FAULTS, callers=callers, unanswered=0, slowest_seconds=round(slowest_s, 2))


@pytest.mark.parametrize("seen", [True, False][: count(1, 2)])
async def test_a_device_that_is_lost_ends_the_process_and_all_who_wait_are_answered(
    tiny_engine: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """C5. CUDA says the same to every call then: `run` ends with exit code 70, and a new process answers."""
    import torch

    if not seen:
        monkeypatch.setattr(batch, "is_lost", lambda _error: False)

    def broken() -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    callers = given_up = 0
    for number in range(FAULTS):
        async with started(tiny_engine(batch=TOGETHER)) as engine:
            on_steps(engine, broken, 1 + 4 * number, math.inf)
            outcomes = await ask(engine, 2 * TOGETHER)
            assert {type(one) for one in outcomes} == {EngineFailed}
            callers, given_up = callers + len(outcomes), given_up + engine.lost.is_set()
            assert engine.state().ready is not seen
    which = "C5 lost device" if seen else "C5 lost device, without seeing it"
    record(which, times=FAULTS, callers=callers, unanswered=0, given_up=given_up)
    assert given_up == (FAULTS if seen else 0)

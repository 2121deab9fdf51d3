"""A model thread that hangs or dies is seen, said and begun again; nobody who waits is left without an answer."""

import asyncio
import sys
import threading
import time
from dataclasses import replace

import pytest

from persona_chat.engine import local
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import EngineFailed
from tests.adapter_folders import make_adapter, write_card
from tests.model_fixtures import HELLO, VERA

pytestmark = pytest.mark.model

ASK = ReplyRequest(VERA, HELLO, Sampling(12, 0, whole=True))


@pytest.fixture
async def engine(embedded_settings, monkeypatch):
    monkeypatch.setattr(local, "LOOK_S", 0.05)
    monkeypatch.setattr(local, "HANG_S", 5)
    monkeypatch.setattr(local, "RETRY_S", 0.1)
    engine = LocalEngine(embedded_settings.model_copy(update={"queue_size": 64}))
    await engine.start()
    yield engine
    await engine.close()


async def again(engine: LocalEngine, ask: ReplyRequest = ASK) -> str:
    """What it says as soon as it answers again."""
    for _ in range(600):
        try:
            return (await engine.reply(ask)).text
        except EngineFailed:
            await asyncio.sleep(0.05)
    raise AssertionError("it never answers again")


def on_step(engine: LocalEngine, at: int, what) -> None:
    """Do something in the middle of the step `at`, in this model thread only."""
    decoder, steps = engine._writer.loaded.decoder, [0]
    before = decoder.step

    def step(ids, lengths, first=0):
        steps[0] += 1
        if steps[0] == at:
            what()
        return before(ids, lengths, first)

    decoder.step = step


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("at", [1, 5])
async def test_a_thread_that_dies_is_begun_again_with_the_adapter_it_had(engine, tmp_path, caplog, at):
    folder = make_adapter(tmp_path / "one", strength=0.08)
    write_card(folder, base="embedded")
    await engine.use(folder)
    expected = await engine.reply(ASK)

    def die() -> None:
        raise SystemExit

    on_step(engine, at, die)
    asked = [asyncio.create_task(engine.reply(replace(ASK, channel=number))) for number in range(6)]
    outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
    assert {type(outcome) for outcome in outcomes} == {EngineFailed}
    assert await asyncio.wait_for(again(engine), 60) == expected.text
    assert (await engine.reply(ASK)).adapter == expected.adapter
    assert "has died" in caplog.text
    assert "serves again" in caplog.text or engine._thread.alive


async def test_a_thread_that_hangs_is_left_behind_and_those_who_wait_are_let_go(engine, caplog):
    expected = (await engine.reply(ASK)).text
    release = threading.Event()
    on_step(engine, 2, lambda: release.wait(60))
    hanging = engine._thread
    asked = [asyncio.create_task(engine.reply(replace(ASK, channel=number))) for number in range(4)]
    began = time.perf_counter()
    outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)
    assert {type(outcome) for outcome in outcomes} == {EngineFailed}
    assert time.perf_counter() - began < 18
    assert await asyncio.wait_for(again(engine), 60) == expected
    assert engine._thread is not hanging
    release.set()
    assert await asyncio.to_thread(hanging.join, 20), "it ends when it comes to its senses"
    assert (await engine.reply(ASK)).text == expected
    assert "hangs" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("restarts", [local.RESTARTS, 1000], ids=["bounded", "without a bound"])
async def test_a_model_that_dies_each_time_is_given_up(engine, monkeypatch, caplog, restarts):
    monkeypatch.setattr(local, "RESTARTS", restarts)

    def die(*_given: object) -> None:
        raise SystemExit

    with monkeypatch.context() as faulty:
        faulty.setattr(local, "load", die)
        on_step(engine, 1, die)
        with pytest.raises(EngineFailed):
            await engine.reply(ASK)
        if restarts == 1000:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.lost.wait(), 2)
        else:
            await asyncio.wait_for(engine.lost.wait(), 20)
            assert f"begun again {restarts} times and is given up" in caplog.text
        with pytest.raises(EngineFailed):
            await engine.reply(ASK)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_dies_of_loading_is_followed_by_another(engine, monkeypatch):
    expected = (await engine.reply(ASK)).text
    load, loads = local.load, []

    def dies_once(*given):
        loads.append(given)
        if len(loads) == 1:
            raise SystemExit
        return load(*given)

    monkeypatch.setattr(local, "load", dies_once)
    on_step(engine, 1, sys.exit)
    with pytest.raises(EngineFailed):
        await engine.reply(ASK)
    assert await asyncio.wait_for(again(engine), 60) == expected
    assert len(loads) == 2
    assert not engine.lost.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_model_that_hangs_while_it_is_loaded_again_is_given_up(engine, monkeypatch, caplog):
    monkeypatch.setattr(local, "RELOAD_S", 0.1)
    release = threading.Event()
    monkeypatch.setattr(local, "load", lambda *_given: release.wait(30))

    def die() -> None:
        raise SystemExit

    on_step(engine, 1, die)
    with pytest.raises(EngineFailed):
        await engine.reply(ASK)
    await asyncio.wait_for(engine.lost.wait(), 20)
    assert caplog.text.count("hangs while it loads") == local.RESTARTS
    release.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_reply_between_two_deaths_begins_the_count_anew(engine, monkeypatch):
    monkeypatch.setattr(local, "RESTARTS", 1)
    for _ in range(2):
        before = engine._thread
        on_step(engine, 1, sys.exit)
        with pytest.raises(EngineFailed):
            await engine.reply(ASK)
        await again(engine)
        assert engine._thread is not before
    assert not engine.lost.is_set()


async def test_a_request_that_cannot_be_begun_fails_alone(engine, monkeypatch, caplog):
    expected = (await engine.reply(ASK)).text
    before = engine._writer._fit

    def fit(request: ReplyRequest):
        if request.channel == 1:
            raise ValueError("nothing that was foreseen")
        return before(request)

    monkeypatch.setattr(engine._writer, "_fit", fit)
    asked = [engine.reply(replace(ASK, channel=number)) for number in range(4)]
    outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
    assert [type(outcome) for outcome in outcomes].count(EngineFailed) == 1
    assert [outcome.text for number, outcome in enumerate(outcomes) if number != 1] == [expected] * 3
    assert "ValueError" in caplog.text


async def test_storms_of_cancelling_leave_no_one_without_an_answer_and_no_row_behind(engine):
    expected = (await engine.reply(ASK)).text
    for storm in range(3):
        asked = [asyncio.create_task(engine.reply(replace(ASK, channel=number % 9))) for number in range(24)]
        await asyncio.sleep(0.05 + 0.2 * storm)
        for number, task in enumerate(asked):
            if number % 3:
                task.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, asyncio.CancelledError) if number % 3 else outcome.text == expected
        await engine._thread.submit(lambda: None)
        assert engine._thread.waiting() == 0
    for _ in range(50):
        if not engine._writer._begun:
            break
        await asyncio.sleep(0.02)
    assert not engine._writer.loaded.batch.rows
    assert not engine._writer._begun


async def test_adapters_change_under_fifty_replies_and_none_is_of_a_mixture_or_lost(engine, tmp_path):
    folders = {}
    for number, name in enumerate("ab"):
        folders[name] = make_adapter(tmp_path / name, seed=number, strength=0.08)
        write_card(folders[name], base="embedded")
    ask = replace(ASK, sampling=Sampling(6, 0, whole=True))
    cold = {None: (await engine.reply(ask)).text}
    for folder in folders.values():
        called = await engine.use(folder)
        cold[called] = (await engine.reply(ask)).text
    await engine.use(None)
    assert len(set(cold.values())) == 3
    asked, swaps = [], []
    for number in range(50):
        asked.append(asyncio.create_task(engine.reply(replace(ask, channel=number))))
        if number in (12, 30, 41):
            await asyncio.sleep(0.1)
            swaps.append(asyncio.create_task(engine.use(folders["ab"[len(swaps) % 2]])))
    replies = await asyncio.wait_for(asyncio.gather(*asked), 120)
    await asyncio.gather(*swaps)
    for reply in replies:
        assert reply.text == cold[reply.adapter]
    order = [reply.adapter for reply in replies]
    assert [order.index(name) for name in dict.fromkeys(order)] == [0, 13, 31]
    assert order[42:] == [order[13]] * 8

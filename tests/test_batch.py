"""Rows written together: who joins and leaves, what is remembered, and what one row's trouble means to the others."""

import logging
import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from persona_chat import template
from persona_chat.engine.draw import draw
from persona_chat.engine.kept import Cache, Kept, common_start
from persona_chat.engine.reply import Finish, Sampling
from persona_chat.engine.row import Limits, Row
from persona_chat.errors import EngineFailed
from persona_chat.settings import Settings
from tests.model_fixtures import HELLO, VERA

GREEDY = Sampling(max_new_tokens=10, temperature=0)
WHOLE = replace(GREEDY, whole=True)
NEVER = Limits(math.inf, ())


@pytest.fixture(scope="module", params=["fp32", "nf4"])
def loaded(request: pytest.FixtureRequest, embedded_settings: Settings) -> Any:
    from bitsandbytes.functional import has_avx512bf16

    from persona_chat.engine import base, loaded
    from persona_chat.engine.tokens import Tokens

    if request.param == "nf4" and not has_avx512bf16():
        pytest.skip("4-bit is not served on this CPU, and without its kernel sums depend on how many rows there are")
    settings = embedded_settings.model_copy(update={"precision": request.param, "batch": 8})
    choice = base.choose(settings)
    tokens = Tokens(base.load_tokenizer(choice, settings.data_dir))
    return tokens, loaded.load(settings, None, lambda: tokens, lambda *_: None)


@pytest.fixture
def batch(loaded) -> Iterator[Any]:
    batch = loaded[1].batch
    batch.clear()
    yield batch
    batch.clear()
    assert not batch.rows
    batch._together = 8


@pytest.fixture(scope="module")
def prompts(loaded) -> list[tuple[int, ...]]:
    said = (
        "Hello!",
        "What is your parrot called?",
        "Tell me of the sea, and of the ships that pass by at night.",
        "Tea?",
    )
    asked = [replace(HELLO[0], text=text) for text in said for _ in range(2)]
    return [
        tuple(loaded[0].encode(template.render(VERA, (turn,) * (1 + number % 3)))) for number, turn in enumerate(asked)
    ]


def write(batch: Any, rows: Sequence[Row]) -> list[str]:
    """Write all of them, as many together as the batch takes; return the texts."""
    waiting, over = deque(rows), 0
    while over < len(rows):
        if waiting and batch.takes:
            batch.add(waiting.popleft())
        over += len(batch.turn())
    return [row.text for row in rows]


def rows_of(prompts: Sequence[tuple[int, ...]], sampling: Sampling = GREEDY, **more: Any) -> list[Row]:
    return [Row(prompt, sampling, NEVER, template.ends_reply, **more) for prompt in prompts]


@pytest.mark.model
@pytest.mark.parametrize("seeded", [False, True], ids=["greedy", "seeded"])
def test_eight_at_once_say_what_each_says_alone(batch, prompts, seeded):
    def sampling(number: int) -> Sampling:
        return Sampling(6 + number, 0.9, 0.95, seed=number) if seeded else replace(GREEDY, max_new_tokens=6 + number)

    def row(number: int) -> Row:
        return Row(prompts[number], sampling(number), NEVER, template.ends_reply)

    together = write(batch, [row(number) for number in range(8)])
    alone = []
    for number in range(8):
        batch.clear()
        alone += write(batch, [row(number)])
    assert together == alone
    assert len(set(together)) > 3


@pytest.mark.model
def test_what_was_read_before_is_not_read_again_and_changes_no_word(batch, prompts, loaded):
    talk = [*HELLO, *HELLO, *HELLO]
    cold, fresh = [], []
    for turns in (1, 2, 3):
        prompt = tuple(loaded[0].encode(template.render(VERA, talk[:turns])))
        batch.clear()
        cold += write(batch, rows_of([prompt]))
    batch.clear()
    warm = []
    for turns in (1, 2, 3):
        row = rows_of([tuple(loaded[0].encode(template.render(VERA, talk[:turns])))], owner="channel")[0]
        warm += write(batch, [row])
        fresh.append(row.fresh)
    assert warm == cold
    assert fresh[0] == len(rows_of([prompts[0]])[0].prompt) or fresh[0] > 60
    assert max(fresh[1:]) < 40
    assert len(batch.kept) == 1
    # Another channel of the same persona shares the persona.
    other = rows_of([prompts[4]], owner="another")[0]
    write(batch, [other])
    assert other.fresh < len(other.prompt) - 50


@pytest.mark.model
def test_memory_of_caches_that_were_let_go_of_is_given_back_now_and_then(batch, prompts, monkeypatch):
    from persona_chat.engine import batch as module

    given_back = []
    monkeypatch.setattr(module, "trim", lambda: given_back.append(batch.kept.size))
    rows = rows_of(prompts[:1] * 4, replace(GREEDY, max_new_tokens=1), owner="channel")
    monkeypatch.setattr(module, "HOLES", 2.5 * rows[0].fresh * batch._decoder.token_bytes)
    for row in rows:  # each takes the place of the one before
        write(batch, [row])
    assert len(given_back) == 1


@pytest.mark.model
def test_a_row_takes_over_what_the_row_beside_it_has_read(batch, prompts):
    rows = rows_of([prompts[2], prompts[2]])
    write(batch, rows)
    assert [rows[0].fresh, rows[1].fresh] == [len(prompts[2]), 1]
    assert rows[0].text == rows[1].text


@pytest.mark.model
@pytest.mark.parametrize("at", [1, 5, 20])
def test_where_memory_does_not_suffice_half_of_them_go_on_at_a_time(batch, prompts, monkeypatch, caplog, at):
    sampling = replace(WHOLE, max_new_tokens=30)
    expected = write(batch, rows_of(prompts[:4], sampling))
    steps = [0]
    before = type(batch._decoder).step

    def short(self, ids, lengths, first=0):
        steps[0] += len(ids) > 2
        if steps[0] >= at and len(ids) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return before(self, ids, lengths, first)

    monkeypatch.setattr(type(batch._decoder), "step", short)
    assert write(batch, rows_of(prompts[:4], sampling)) == expected
    assert "not enough memory" in caplog.text


@pytest.mark.model
def test_a_prompt_that_finds_no_memory_is_read_without_caches(batch, prompts, monkeypatch):
    expected = write(batch, rows_of(prompts[:1], owner="a"))
    before, failed = type(batch._decoder).read, []

    def short_once(self, slot, ids, start):
        if not failed:
            failed.append(True)
            raise MemoryError
        return before(self, slot, ids, start)

    monkeypatch.setattr(type(batch._decoder), "read", short_once)
    assert write(batch, rows_of(prompts[:1], owner="b")) == expected
    assert len(batch.kept) == 1


@pytest.mark.model
@pytest.mark.parametrize("what", ["keep", "put"])
def test_a_cache_that_cannot_be_kept_or_found_again_costs_no_reply(batch, prompts, monkeypatch, what):
    first = write(batch, rows_of(prompts[:1], owner="a"))
    batch.clear()
    if what == "put":
        write(batch, rows_of(prompts[:1], owner="a"))

    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(type(batch._decoder), what, broken)
    asked = rows_of([prompts[0], prompts[2]], owner="a")
    write(batch, asked)
    assert not any(row.failed for row in asked)
    assert asked[0].text == first[0]
    assert len(batch.kept) == (0 if what == "keep" else 1)


@pytest.mark.model
def test_room_that_cannot_be_had_leaves_what_is_there(batch, prompts, monkeypatch):
    import torch

    expected = write(batch, rows_of(prompts[:2]))
    decoder, zeros = batch._decoder, torch.Tensor.new_zeros

    def few(self, *sizes):
        if len(sizes) == 5:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return zeros(self, *sizes)

    monkeypatch.setattr(torch.Tensor, "new_zeros", few)
    with pytest.raises(RuntimeError):
        decoder._need(decoder._slots + 1, decoder._capacity + 64)
    batch.clear()
    assert write(batch, rows_of(prompts[:2])) == expected


@pytest.mark.model
@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_step_that_fails_takes_its_rows_with_it_and_no_others(batch, prompts, monkeypatch, caplog, at):
    caplog.set_level(logging.ERROR)
    steps, words = [0], "secret" + " words"
    before = type(batch._decoder).step

    def broken(self, ids, lengths, first=0):
        steps[0] += 1
        if steps[0] == at:
            raise ValueError(words)
        return before(self, ids, lengths, first)

    monkeypatch.setattr(type(batch._decoder), "step", broken)
    rows = rows_of(prompts[:3], WHOLE)
    write(batch, rows)
    failed = [row for row in rows if row.failed]
    assert failed
    assert all(isinstance(row.failed, EngineFailed) for row in failed)
    assert "secret" not in caplog.text
    monkeypatch.undo()
    batch.clear()
    after = write(batch, rows_of(prompts[:3], WHOLE))
    assert all(after)
    for row, text in zip(rows, after, strict=True):
        assert row.failed or row.text == text


@pytest.mark.model
def test_rows_that_nobody_wants_leave_at_once_and_the_others_go_on(batch, prompts):
    expected = write(batch, rows_of(prompts))
    rng = Random(4)
    for _ in range(3):
        stops = [threading.Event() for _ in prompts]
        rows = [
            Row(prompt, GREEDY, Limits(math.inf, (stop,)), template.ends_reply)
            for prompt, stop in zip(prompts, stops, strict=True)
        ]
        waiting, turns = deque(rows), 0
        doomed = {rng.randrange(8): rng.randrange(1, 12) for _ in range(4)}
        while waiting or batch.rows:
            for number, turn in doomed.items():
                if turn == turns:
                    stops[number].set()
            if waiting and batch.takes:
                batch.add(waiting.popleft())
            batch.turn()
            turns += 1
            assert not any(row.over for row in batch.rows)
        for number, (row, text) in enumerate(zip(rows, expected, strict=True)):
            assert row.text == text or (number in doomed and text.startswith(row.text))


def test_kept_caches_are_bounded_and_the_least_recently_used_goes_first():
    kept = Kept(100)
    for owner in "abc":
        kept.put(owner, Cache((ord(owner), 1, 2), owner, 30))
    found, shared = kept.find((ord("a"), 1, 9))
    assert (found.kept, shared) == ("a", 2)
    kept.put("d", Cache((4, 5), "d", 30))
    assert kept.find((ord("b"), 1))[0] is None
    assert kept.find((ord("a"), 1))[0] is not None
    kept.put("a", Cache((7,), "anew", 30))
    assert kept.find((ord("a"), 1))[0] is None
    kept.put("e", Cache((9,) * 9, "too large", 101))
    assert (kept.size, len(kept)) == (90, 3)
    kept.clear()
    assert (kept.size, kept.find((7,))) == (0, (None, 0))


@pytest.mark.parametrize("length", [0, 1, 2, 63, 64, 100])
def test_the_common_start_is_as_long_as_both_agree(length):
    one = tuple(range(100))
    assert common_start(one, (*one[:length], -1, *one[length + 1 :])) == length
    assert common_start(one, one[:length]) == length


def test_words_are_drawn_as_asked():
    ids, logits = list(range(10)), [5.0, 4.9, 4.0, 3.9, 3.8, 3.7, 3.6, 3.5, 3.4, -math.inf]

    def drawn(**how: Any) -> set[int]:
        return {draw(ids, logits, (), Sampling(temperature=1.0, **how), Random(seed)) for seed in range(400)}

    assert drawn(top_p=1.0, top_k=64) == set(range(9))
    assert drawn(top_p=1.0, top_k=3) == {0, 1, 2}
    assert drawn(top_p=0.4, top_k=64) == {0, 1}
    assert drawn(top_p=1e-9) == {0}
    assert drawn(top_p=1.0, min_p=0.5) == {0, 1}
    assert draw(ids, logits, (), Sampling(temperature=0), Random(1)) == 0
    assert draw(ids, logits, (0,), Sampling(temperature=0, repetition_penalty=1.2), Random(1)) == 1
    share = sum(draw(ids[:2], [1.0, 0.0], (), Sampling(temperature=1, top_p=1.0), Random(n)) == 0 for n in range(4000))
    assert share / 4000 == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)
    assert Finish.STOP == "stop"

"""`persona-chat bench`: what it measures, prints and draws, with real engines on very little."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from persona_chat.adapters import SHIPPED
from persona_chat.bench.conversations import request
from persona_chat.bench.run import Row, spread
from persona_chat.engine import base
from persona_chat.engine.kept import common_start
from persona_chat.engine.llamacpp import LlamaCpp
from persona_chat.engine.loaded import load
from persona_chat.engine.tokens import Tokens
from persona_chat.template import render


def bench(data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bot", "bench", "--data-dir", str(data_dir), *options]
    environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=environment)


@pytest.mark.model
def test_it_measures_ours_and_the_others_on_the_same_and_prints_one_object(embedded_data_dir, tmp_path):
    picture = tmp_path / "bench.png"
    small = ("--channels", "1,2", "--history", "40", "--rounds", "1", "--tokens", "4")
    done = bench(embedded_data_dir, *small, "--against", "generate,llamacpp", "--json", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"machine", "base", "adapter", "rows"}
    assert (told["base"], told["adapter"].split("@")[0]) == ("embedded", "default")
    kinds = {(row["engine"], row["channels"], row["history"], row["warm"]) for row in told["rows"]}
    engines = ("local", "generate", "llamacpp")
    assert kinds == {(name, channels, 40, warm) for name in engines for channels in (1, 2) for warm in (False, True)}
    for row in told["rows"]:
        for figure in ("first_token_s", "reply_s", "tokens_per_s", "replies_per_minute"):
            assert set(row[figure]) == {"median", "low", "high", "p95"}
            assert 0 < row[figure]["low"] <= row[figure]["median"] <= row[figure]["high"]
        assert row["first_token_s"]["median"] < row["reply_s"]["median"]
        assert row["memory_mb"] > 100
    prompts = {row["prompt_tokens"] for row in told["rows"] if not row["warm"]}
    assert max(prompts) - min(prompts) < 4, "all read the same"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--channels", "0"), "--channels takes whole numbers from 1"),
        (("--history", "many"), "--history takes whole numbers"),
        (("--against", "http://127.0.0.1:9/v1"), "cannot be reached"),
        (("--against", "exllama"), "There is no engine exllama"),
    ],
)
@pytest.mark.model
def test_what_cannot_be_measured_is_said(embedded_data_dir, options, words):
    done = bench(embedded_data_dir, "--rounds", "1", "--tokens", "2", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_conversations_are_new_each_time_and_as_long_as_wanted():
    def words(turns) -> int:
        return sum(len(turn.text.split()) for turn in turns)

    long, longer = (request(1, history, 24, words, warm=False) for history in (100, 300))
    assert words(long.dialogue[:-1]) <= 100
    assert 100 < words(longer.dialogue[:-1]) <= 300
    warm = request(1, 100, 24, words, warm=True)
    assert warm.dialogue[: len(long.dialogue)] == long.dialogue
    assert len(warm.dialogue) == len(long.dialogue) + 2
    first, second = (render(one.persona, one.dialogue) for one in (long, request(2, 100, 24, words, warm=False)))
    common = first[: common_start(tuple(map(ord, first)), tuple(map(ord, second)))]
    assert "lucky number" not in common, "nothing but the form is the same"


def test_a_row_adds_up_what_was_measured():
    row = Row("local", 2, 0, warm=False)
    measured = {"first_token_s": [1.0, 2.0], "reply_s": [3.0, 4.0], "prompt_tokens": 90, "reply_tokens": [5, 5]}
    row.add({**measured, "took_s": 4.0, "memory_mb": 300.0})
    assert row.summary()["tokens_per_s"]["median"] == 2.0
    assert row.summary()["replies_per_minute"]["median"] == 30.0
    assert vars(spread(range(1, 101))) == {"median": 50.5, "low": 1, "high": 100, "p95": 95}


@asynccontextmanager
async def running(theirs: LlamaCpp) -> AsyncIterator[httpx.AsyncClient]:
    """Start llama.cpp, and ask it by its own API."""
    await theirs.start()
    try:
        async with httpx.AsyncClient(base_url=theirs._server.listening_address, timeout=60) as client:
            yield client
    finally:
        await theirs.close()


@pytest.mark.model
@pytest.mark.parametrize("adapter", [SHIPPED, None], ids=["under the adapter", "plain"])
async def test_llamacpp_finds_the_next_word_as_likely_as_we_do(embedded_settings, adapter):
    pytest.importorskip("xllamacpp")
    import torch

    tokens = Tokens(base.load_tokenizer(base.choose(embedded_settings), embedded_settings.data_dir))
    decoder = load(embedded_settings, adapter, lambda: tokens, lambda *_: None).decoder
    theirs = LlamaCpp(embedded_settings, adapter)
    asked = [request(number, 60, 1, lambda turns: 20 * len(turns), warm=False) for number in (1, 2, 3)]
    async with running(theirs) as client:
        for one in asked:
            ids = tokens.encode(render(one.persona, one.dialogue))
            body = {"prompt": ids, "n_predict": 1, "n_probs": 5, "temperature": 0, "cache_prompt": False}
            told = (await client.post("/completion", json=body)).json()["completion_probabilities"][0]["top_logprobs"]
            with torch.inference_mode():
                for start in range(0, len(ids), 100):
                    hidden = decoder.read(0, ids[start : start + 100], start)
                candidates = decoder.head(hidden)
            ours = dict(zip(candidates.ids[0].tolist(), candidates.logits[0].tolist(), strict=True))
            # It rounds what it multiplies to 8 bits. Differences of logits are those of log-probabilities.
            likeliest = told[0]
            for other in told[1:]:
                apart = likeliest["logprob"] - other["logprob"]
                assert ours[likeliest["id"]] - ours[other["id"]] == pytest.approx(apart, abs=0.4)

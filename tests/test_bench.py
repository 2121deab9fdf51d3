"""`persona-chat bench`: what it measures, prints and draws, with real engines on very little."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persona_chat.adapters import SHIPPED
from persona_chat.bench.conversations import request
from persona_chat.bench.run import Row, spread
from persona_chat.engine.kept import common_start
from persona_chat.engine.llamacpp import LlamaCpp
from persona_chat.engine.local import LocalEngine
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


@pytest.mark.model
async def test_llamacpp_writes_under_the_adapter_what_we_write(embedded_settings):
    pytest.importorskip("xllamacpp")
    ask = request(3, 60, 16, lambda turns: 20 * len(turns), warm=False)
    said = {}
    for adapter in (SHIPPED, None):
        ours, theirs = LocalEngine(embedded_settings, adapter=adapter), LlamaCpp(embedded_settings, adapter)
        for engine in (ours, theirs):
            await engine.start()
            said[adapter, engine is ours] = (await engine.reply(ask)).text.split()[:5]
            await engine.close()
    assert said[SHIPPED, True] == said[SHIPPED, False]
    assert said[SHIPPED, False] != said[None, False], "else it proves nothing"

"""The evaluator on the real embedded model: fast ways give the numbers of slow ones, and the command keeps its form."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from persona_chat import template
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import Sampling
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.template_ab0 import TEMPLATE_AB_0
from tests.adapter_folders import FIRST, change_weights, first_is, make_adapter, write_card
from tests.model_fixtures import HELLO, VERA
from training import report
from training.evaluate_command import read_wanted
from training.evaluation import Scores, Task, measure
from training.measures import Measured
from training.metrics import GROUPS, NAMES, read_metrics
from training.probes import PROBES, read_probes
from training.prompting import NOBODY, ask
from training.rows import Row
from training.sample import candidates
from training.systems import Asking, Bench, System, Wanted, Way, find

pytestmark = pytest.mark.model

ROOT = Path(__file__).parent.parent
NONE = Wanted("none", None)
AGES = ((24, 40), (19, 63))


def ignore(what: str, done: int, of: int) -> None:
    """Hear of progress and do nothing."""


def pair(number: int, one: int, other: int) -> list[Row]:
    """Two rows that differ in the persona's age alone."""
    dialogue = (Turn(Speaker.A, "Hi!"), Turn(Speaker.B, "Hello!"), Turn(Speaker.A, "How old are you?"))
    return [
        Row(
            Persona("", "", (f"I am {age} years old.", "I like boats.")),
            dialogue,
            f"I am {age} years old.",
            f"swap_{number}_{side}",
            pair_id=str(number),
        )
        for side, age in (("a", one), ("b", other))
    ]


PAIRS = [row for number, (one, other) in enumerate(AGES) for row in pair(number, one, other)]


def record(row: Row) -> dict[str, Any]:
    return {
        "persona_b": list(row.persona.facts),
        "dialogue": [f"{turn.speaker}: {turn.text}" for turn in row.dialogue],
        "reference": row.reference,
        "conv_id": row.conv_id,
        "pair_id": row.pair_id,
    }


@pytest.fixture(scope="module")
def bench(embedded_settings: Settings) -> Bench:
    """The embedded base in fp32, in which sums come out alike in every batch."""
    return Bench(embedded_settings, Asking())


@pytest.fixture(scope="module")
def system(bench: Bench) -> Iterator[System]:
    with bench.under(NONE) as system:
        yield system


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of twelve persona-swap pairs: enough conversations for 19 distractors."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [row for number in range(12) for row in pair(number, 20 + number, 50 + number)]
    file.write_text("".join(json.dumps(record(row)) + "\n" for row in rows), encoding="utf-8")
    return file


def plainly(system: System, prompt: list[int], completion: list[int]) -> float:
    """The log-probability by one forward pass over everything, with nothing shared, padded or left out."""
    import torch

    with torch.inference_mode():
        logits = system.model(input_ids=torch.tensor([prompt + completion])).logits[0]
    logps = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
    return float(sum(logps[place, token] for place, token in enumerate(completion)))


def test_candidates_that_share_their_prompt_score_as_each_alone(system: System) -> None:
    from training.scoring import Scorer

    pool = [row for number in range(12) for row in pair(number, 20 + number, 50 + number)]
    one = ask(system.prompting, pool[:1])[0]
    replies = [*candidates(pool[0], pool), "No.", "I would rather not say, but I have seen many summers by the sea."]
    completions = [system.prompting.completion(reply) for reply in replies]
    scored = Scorer(system.model, system.base).score_candidates(one.prompt, completions)
    assert [score.tokens for score in scored] == [len(completion) for completion in completions]
    for number in (0, 7, 19, 20, 21):
        assert scored[number].logp == pytest.approx(plainly(system, one.prompt, completions[number]), abs=1e-3)


def test_rows_of_any_length_score_in_batches_as_each_alone(system: System) -> None:
    from training.scoring import Scorer

    rows = [*PAIRS[:2], replace(PAIRS[0], dialogue=HELLO, reference="I keep the lamp burning, and I write letters.")]
    pairs = [(one.prompt, one.reference) for one in ask(system.prompting, rows)]
    done: list[int] = []
    scored = Scorer(system.model, system.base).score(pairs, done.append)
    assert done == [2, 3]
    for score, (prompt, completion) in zip(scored, pairs, strict=True):
        assert completion[-1] == system.tokens.tokenizer.eos_token_id
        assert score.logp == pytest.approx(plainly(system, prompt, completion), abs=1e-3)
        assert score.mean == score.logp / len(completion)


def test_replies_of_a_batch_are_those_of_single_runs(system: System) -> None:
    from training.replies import write_each

    talks: list[tuple[Persona, Dialogue]] = [(VERA, HELLO), *((row.persona, row.dialogue) for row in PAIRS[:3])]
    prompts = [system.prompting.prompt(persona, dialogue) for persona, dialogue in talks]
    assert len({len(prompt) for prompt in prompts}) > 1
    few = replace(system, sampling=Sampling(max_new_tokens=8, temperature=0, repetition_penalty=1.1))
    together = write_each(few, prompts, lambda _: None)
    assert together == [write_each(few, [prompt], lambda _: None)[0] for prompt in prompts]
    # Rows that end at different places and some that the limit ends: each knows its own end.
    assert {written.stopped for written in together} == {True, False}


def test_each_persona_fits_its_own_reply_better_than_the_others(system: System) -> None:
    def accuracy(rows: list[Row]) -> float:
        scores = measure(system, Task(read_metrics("swap"), rows), ignore)
        return scores.metrics["swap_accuracy"].value

    crossed = [
        replace(row, reference=other.reference)
        for one, another in zip(PAIRS[::2], PAIRS[1::2], strict=True)
        for row, other in ((one, another), (another, one))
    ]
    assert accuracy(PAIRS) == 1
    assert accuracy(crossed) == 0
    assert measure(system, Task(read_metrics("swap"), PAIRS[:1]), ignore).metrics == {}


def test_a_persona_helps_to_foretell_what_it_says_and_its_lack_is_asked_with_the_same_turns(system: System) -> None:
    asked = ask(system.prompting, PAIRS[:1])[0]
    assert asked.without == system.tokens.encode(template.render(NOBODY, PAIRS[0].dialogue))
    scores = measure(system, Task(read_metrics("perplexity"), PAIRS), ignore).metrics
    assert list(scores) == list(GROUPS["perplexity"])
    assert scores["persona_gain"].value > 1.5
    ratio = scores["perplexity_without_persona"].value / scores["perplexity"].value
    assert scores["persona_gain"].value == pytest.approx(ratio)
    # All of these references are grounded.
    assert scores["perplexity_grounded"] == scores["perplexity"]
    alone = measure(system, Task(frozenset({"perplexity"}), PAIRS[:2]), ignore).metrics
    assert list(alone) == ["perplexity"]


def test_a_row_over_the_window_is_left_out_and_none_but_such_is_an_error(system: System) -> None:
    long = replace(PAIRS[0], dialogue=(Turn(Speaker.A, "ship " * 2000),))
    assert measure(system, Task(frozenset({"perplexity"}), [long, PAIRS[0]]), ignore).rows == 1
    with pytest.raises(InputError, match="None of the rows fits"):
        measure(system, Task(frozenset({"perplexity"}), [long]), ignore)


def test_the_base_is_plain_again_after_an_adapter(bench: Bench, system: System, tmp_path: Path) -> None:
    def perplexity(of: System) -> float:
        return measure(of, Task(frozenset({"perplexity"}), PAIRS[:1]), ignore).metrics["perplexity"].value

    before = perplexity(system)
    folder = make_adapter(tmp_path / "one", made_for=None)
    write_card(folder, template=TEMPLATE_AB_0)
    with bench.under(find(str(folder), tmp_path)) as under:
        # An adapter is asked in the form in which it was trained.
        assert system.tokens.decode(ask(under.prompting, PAIRS[:1])[0].prompt).endswith("\nReference:")
        assert perplexity(under) != before
    assert perplexity(system) == before


def test_an_adapter_that_computes_no_numbers_is_refused(bench: Bench, tmp_path: Path) -> None:
    folder = make_adapter(tmp_path / "wild", made_for=None, strength=1e30)
    with (
        bench.under(find(str(folder), tmp_path)) as wild,
        pytest.raises(AdapterRefused, match="cannot be measured: what it computes is not finite"),
    ):
        measure(wild, Task(frozenset({"perplexity"}), PAIRS[:1]), ignore)


def test_the_bases_own_chat_template_is_asked_in_plain_words(embedded_settings: Settings) -> None:
    chat = Bench(embedded_settings.model_copy(update={"max_new_tokens": 6}), Asking(Way.CHAT))
    with chat.under(NONE) as system:
        one = ask(system.prompting, PAIRS[:1])[0]
        text = system.tokens.tokenizer.decode(one.prompt)
        assert text.startswith("<|im_start|>system\nYou are a person")
        assert "- I am 24 years old.\n- I like boats.<|im_end|>\n<|im_start|>user\nHi!<|im_end|>" in text
        assert text.endswith("<|im_start|>user\nHow old are you?<|im_end|>\n<|im_start|>assistant\n")
        assert "24" not in system.tokens.tokenizer.decode(one.without)
        assert system.tokens.tokenizer.decode(one.reference) == "I am 24 years old.<|im_end|>"
        twice = (*PAIRS[0].dialogue[:1], Turn(Speaker.A, "Ahoy!"))
        assert "user\nHi!\nAhoy!<|im_end|>" in system.tokens.tokenizer.decode(system.prompting.prompt(VERA, twice))
        scores = measure(system, Task(frozenset({"perplexity", "mean_words"}), PAIRS[:1]), ignore).metrics
    assert scores["perplexity"].value < 20
    assert scores["mean_words"].value > 0


def test_facts_are_judged_by_the_probes_rule(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = read_probes(PROBES)[:3]
    from training import replies

    asked: list[list[list[int]]] = []

    def write(_system: System, prompts: list[list[int]], _told: object) -> list[replies.Written]:
        asked.append(prompts)
        said = [probes[0].right[0], probes[1].wrong[0], probes[2].right[0]]
        return [replies.Written(reply, reply, stopped=True) for reply in said]

    monkeypatch.setattr(replies, "write_each", write)
    scores = measure(system, Task(read_metrics("facts"), probes=probes), ignore)
    assert (scores.rows, scores.probes) == (0, 3)
    assert scores.metrics["fact_accuracy"].value == pytest.approx(2 / 3)
    kinds = {f"fact_accuracy_{probe.kind}" for probe in probes}
    assert set(scores.metrics) == {"fact_accuracy", *kinds}
    assert asked[0][0] == system.tokens.encode(template.render(probes[0].persona, probes[0].dialogue))


def test_what_is_measured_follows_from_what_is_given() -> None:
    rows = read_metrics("perplexity,hits,replies,swap")
    assert read_wanted(None, data="rows.jsonl", probes=None) == rows
    assert read_wanted(None, data="rows.jsonl", probes=PROBES) == set(NAMES)
    assert read_wanted("f1", data="rows.jsonl", probes=None) == {"f1"}
    assert read_wanted("f1,fact_accuracy", data="rows.jsonl", probes=PROBES) == {"f1", "fact_accuracy"}
    assert read_wanted("facts", data=None, probes=None) == set(GROUPS["facts"])
    for metrics in (None, "f1"):
        with pytest.raises(InputError, match="--data FILE"):
            read_wanted(metrics, data=None, probes=None)


def test_the_table_has_a_line_a_metric_and_a_column_an_adapter() -> None:
    metrics = {"perplexity": Measured(3.5, 3.4, 3.6), "hits_at_1": Measured(0.25, 0.2, 0.3)}
    columns = [report.Column(name, "embedded", Scores(200, 140, metrics)) for name in ("mine", "none")]
    columns[1].scores.metrics.pop("hits_at_1", None)
    console = Console(width=120)
    with console.capture() as shown:
        console.print(report.as_table(columns))
    text = shown.get()
    assert "Base embedded, 200 rows and 140 probes" in text
    assert text.count("3.50 [3.40 to 3.60]") == 2


def evaluate(*arguments: object, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "training", "evaluate", *map(str, arguments)],
        input=stdin,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_json_is_one_object_with_every_metric_of_both_adapters(
    tmp_path: Path, data: Path, embedded_data_dir: Path
) -> None:
    folder = make_adapter(tmp_path / "random", made_for=None)
    few = tmp_path / "probes.jsonl"
    few.write_text("".join(f"{line}\n" for line in PROBES.read_text(encoding="utf-8").splitlines()[:2]))
    done = evaluate(
        *("--adapter", folder, "--against", "none", "--data", data, "--rows", 2, "--probes", few, "--json"),
        *("--metrics", "perplexity,hits,replies,swap,facts", "--progress", "json"),
        *("--base", "embedded", "--data-dir", embedded_data_dir),
        PERSONA_CHAT_MAX_NEW_TOKENS="8",
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    told = json.loads(done.stdout)
    assert set(told) == {"adapter", "base", "rows", "metrics", "against"}
    assert (told["adapter"], told["against"][0]["adapter"]) == (str(folder), "none")
    assert set(told["against"][0]) == {"adapter", "base", "rows", "metrics"}
    kinds = {f"fact_accuracy_{probe.kind}" for probe in read_probes(few)}
    expected = [name for name in NAMES if name in kinds or not name.startswith("fact_accuracy_")]
    for column in (told, told["against"][0]):
        assert (column["base"], column["rows"]) == ("embedded", 2)
        assert list(column["metrics"]) == expected
        for name, measured in column["metrics"].items():
            assert set(measured) == {"value", "low", "high"}
            assert measured["low"] <= measured["value"] <= measured["high"], name
            assert all(math.isfinite(number) for number in measured.values())
    assert told["metrics"] != told["against"][0]["metrics"]
    assert told["metrics"]["f1_floor"] == told["against"][0]["metrics"]["f1_floor"]
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(set(line) == {"event", "what", "done", "of"} and line["event"] == "measuring" for line in lines)
    assert {line["what"] for line in lines if line["done"] == line["of"]} == set(GROUPS)


def test_what_cannot_be_measured_ends_in_one_line(tmp_path: Path, data: Path) -> None:
    refused = make_adapter(tmp_path / "nan", made_for=None)
    change_weights(refused, first_is(math.nan))
    unpaired = tmp_path / "unpaired.jsonl"
    unpaired.write_text((ROOT / "examples/dialogues.jsonl").read_text(encoding="utf-8").splitlines()[0])
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"persona_b": ["I am [name]."], "dialogue": ["Persona A: Hi"], "reference": "Hi"}\n')
    cases: list[tuple[list[object], int, str]] = [
        (["--adapter", "none", "--data", tmp_path / "nowhere.jsonl"], 2, "there is no such file"),
        (["--adapter", "none", "--data", empty], 2, "none of its rows can be used"),
        (["--adapter", "none", "--data", unpaired, "--metrics", "swap"], 2, "has no persona-swap pairs"),
        (["--adapter", "none", "--data", data, "--metrics", "bleu"], 2, "There is no metric bleu. Groups: perplexity"),
        (["--adapter", "none", "--probes", tmp_path / "nowhere.jsonl"], 2, "there is no such file"),
        (["--adapter", refused, "--data", data], 9, f"{FIRST} holds numbers that are not finite"),
        (["--adapter", "none", "--against", "nobody", "--data", data], 9, "There is no adapter nobody"),
    ]
    for arguments, code, says in cases:
        done = evaluate(*arguments, "--data-dir", tmp_path)
        assert (done.returncode, done.stdout) == (code, b""), says
        assert says in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1


def test_it_ends_when_whoever_started_it_is_gone(data: Path, embedded_data_dir: Path) -> None:
    done = evaluate("--adapter", "none", "--data", data, "--data-dir", embedded_data_dir, "--tied", stdin=b"")
    assert (done.returncode, done.stdout) == (143, b"")

"""The evaluator on the real embedded model: fast ways give the numbers of slow ones."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from persona_chat import template
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import Sampling
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.template_ab0 import TEMPLATE_AB_0
from tests.adapter_folders import make_adapter, write_card
from tests.model_fixtures import HELLO, VERA
from tests.swap_pairs import pair
from training.evaluation import Task, measure
from training.metrics import GROUPS, read_metrics
from training.probes import PROBES, read_probes
from training.prompting import NOBODY, ask
from training.rows import Row
from training.sample import candidates
from training.systems import Asking, Bench, System, Wanted, Way, find

pytestmark = pytest.mark.model

NONE = Wanted("none", None)
AGES = ((24, 40), (19, 63))


def ignore(what: str, done: int, of: int) -> None:
    """Hear of progress and do nothing."""


PAIRS = [row for number, (one, other) in enumerate(AGES) for row in pair(number, one, other)]


@pytest.fixture(scope="module")
def bench(embedded_settings: Settings) -> Bench:
    """The embedded base in fp32, in which sums come out alike in every batch."""
    return Bench(embedded_settings, Asking())


@pytest.fixture(scope="module")
def system(bench: Bench) -> Iterator[System]:
    with bench.under(NONE) as system:
        yield system


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

"""What is counted in replies, on texts and numbers small enough to count by hand; and which rows are chosen."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_chat.dialogue import Speaker, Turn
from persona_chat.errors import InputError
from persona_chat.persona import Persona
from training import measures
from training.grounding import content_words, is_grounded
from training.measures import CONSTANT_REPLY, Measured
from training.metrics import GROUPS, NAMES, NUMBERS, read_metrics
from training.rows import Row
from training.sample import candidates, choose_rows, spread

texts = st.lists(
    st.sampled_from(["i", "like", "tea", "the", "dogs", "bark,", "but.", "not!", "at", "a", "cat's"]), max_size=12
).map(" ".join)
groups = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30)


def a_row(number: int, conv_id: str | None = None, **fields: object) -> Row:
    persona, dialogue = Persona("", "", (f"I am {number}.",)), (Turn(Speaker.A, "Hi"),)
    row = Row(persona, dialogue, f"Reply {number}.", conv_id or f"c{number}")
    return Row(**{**vars(row), **fields})


@pytest.mark.parametrize(
    ("reply", "reference", "value"),
    [
        ("I like tea.", "i LIKE tea", 1.0),
        ("The dog ate an apple", "a dog ate the apple!", 1.0),
        ("I like dogs", "I have two cats", 2 / 7),  # one word of three, one of four
        ("tea tea tea", "tea and tea", 2 / 3),  # two of three, on both sides
        ("I'm ok", "I m ok", 1.0),
        ("yes", "no", 0.0),
        ("", "no", 0.0),
        ("the", "a", 0.0),
        ("", "", 0.0),
    ],
)
def test_f1_counts_shared_words_without_articles(reply: str, reference: str, value: float) -> None:
    assert measures.f1(reply, reference) == pytest.approx(value)


@given(texts, texts)
def test_f1_is_a_share_and_the_same_from_both_sides(one: str, other: str) -> None:
    assert 0 <= measures.f1(one, other) <= 1
    assert measures.f1(one, other) == pytest.approx(measures.f1(other, one))


def test_the_constant_reply_scores_without_reading_anything() -> None:
    # Six of its eight words are in the reference of seven: 2 · 6 / (8 + 7).
    assert measures.f1(CONSTANT_REPLY, "I like it, do you like that?") == pytest.approx(12 / 15)


def test_distinct_is_the_share_of_different_ngrams_over_all_texts() -> None:
    said = ["I like tea.", "i like coffee"]
    assert measures.distinct(["a", "b"], said, 1).value == pytest.approx(4 / 6)
    assert measures.distinct(["a", "b"], said, 2).value == pytest.approx(3 / 4)
    assert measures.distinct(["a", "b"], ["yes", "no"], 2) == Measured(0, 0, 0)


def test_the_interval_of_distinct_is_the_jackknifes() -> None:
    measured = measures.distinct(["a", "b", "b"], ["one two", "one", "three"], 1)
    # Without a: 2 of 2 differ; without b: 2 of 2. With both: 3 of 4, and leaving either out says the same.
    assert measured == Measured(0.75, 0.75, 0.75)
    wider = measures.distinct(["a", "b"], ["one two", "one one"], 1)
    # Without a: 1 of 2; without b: 2 of 2. Their spread is a quarter, and there are two.
    assert (wider.value, wider.low, wider.high) == (0.5, pytest.approx(0.5 - 1.96 / 4), pytest.approx(0.5 + 1.96 / 4))


@given(st.lists(st.tuples(st.sampled_from("abc"), texts), min_size=1, max_size=12), st.integers(1, 3))
def test_distinct_stays_a_share_with_its_value_inside_the_interval(said: list[tuple[str, str]], n: int) -> None:
    measured = measures.distinct([group for group, _ in said], [text for _, text in said], n)
    assert 0 <= measured.low <= measured.value <= measured.high <= 1


@pytest.mark.parametrize(
    ("reply", "repeats"),
    [
        ("I like my dog. I like my dog.", True),
        ("I like my dog and I like my cat", False),
        ("no no no no no", True),
        ("no no no no", False),
        ("", False),
    ],
)
def test_a_reply_repeats_itself_with_four_words_in_a_row(reply: str, repeats: bool) -> None:
    assert measures.repeats_itself(reply) is repeats


@pytest.mark.parametrize(
    ("completion", "reply", "stopped", "breaks"),
    [
        (" I like tea.", "I like tea.", True, False),
        (" Persona B: I like tea.", "I like tea.", True, False),
        (" I like tea. Persona A: And I", "I like tea.", True, True),
        (" user: hello", "user: hello", True, True),
        (" Hi, I am [name].", "Hi, I am [name].", True, True),
        (" Hi, I am (name).", "Hi, I am (name).", True, True),
        (" I have a dog (his name is Bo).", "I have a dog (his name is Bo).", True, False),
        (" Hi [User 1's name]!", "Hi [User 1's name]!", True, True),
        (" Hello User 1", "Hello User 1", True, True),
        (" I live in <city>.", "I live in <city>.", True, True),
        (" I have one user account", "I have one user account", True, False),
        ("\n", "", True, True),
        (" and on and on", "and on and on", False, True),
    ],
)
def test_what_breaks_the_form(completion: str, reply: str, stopped: bool, breaks: bool) -> None:
    assert measures.breaks_the_form(completion, reply, stopped=stopped) is breaks


def test_perplexity_weighs_tokens_not_rows() -> None:
    # Two tokens of probability 1/2 and six of 1/8: 2^-20 over eight tokens.
    measured = measures.perplexity(["a", "b"], [2 * math.log(1 / 2), 6 * math.log(1 / 8)], [2, 6])
    assert measured.value == pytest.approx(2 ** (20 / 8))
    assert (measured.low, measured.high) == (pytest.approx(2), pytest.approx(8))


def test_the_gain_is_one_perplexity_by_the_other() -> None:
    conversations, logps, without, tokens = ["a", "b", "b"], [-4.0, -9.0, -3.0], [-5.0, -9.5, -6.0], [3, 5, 4]
    with_persona = measures.perplexity(conversations, logps, tokens).value
    without_persona = measures.perplexity(conversations, without, tokens).value
    assert measures.gain(conversations, logps, without, tokens).value == pytest.approx(without_persona / with_persona)


@given(groups, st.randoms(use_true_random=False))
def test_an_interval_holds_its_value_and_is_the_same_every_time(names: list[str], chance) -> None:  # type: ignore[no-untyped-def]
    values = [chance.uniform(-1, 3) for _ in names]
    measured = measures.mean(names, values)
    assert measured == measures.mean(names, values)
    assert measured.value == pytest.approx(sum(values) / len(values))
    assert min(values) - 1e-9 <= measured.low <= measured.high <= max(values) + 1e-9


def test_intervals_are_wider_where_rows_of_one_conversation_are_alike() -> None:
    values = [float(number % 20 < 10) for number in range(100)]
    apart = measures.mean([str(number) for number in range(100)], values)
    together = measures.mean([str(number // 10) for number in range(100)], values)
    assert apart.value == together.value == 0.5
    # The error of a mean of 100 coins is 0.05, of 10 coins 0.158.
    assert apart.high - apart.low == pytest.approx(2 * 1.96 * 0.05, rel=0.15)
    assert together.high - together.low == pytest.approx(2 * 1.96 * 0.158, rel=0.15)


def test_one_conversation_alone_has_no_interval() -> None:
    assert measures.mean(["a", "a"], [1.0, 0.0]) == Measured(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "best"), [([-2, -1], True), ([-1, -2], False), ([-1, -1], False), ([3, 1, 4], True)]
)
def test_a_tie_is_no_hit(scores: list[float], best: bool) -> None:
    assert measures.last_is_best(scores) is best


@pytest.mark.parametrize(
    ("persona", "reply", "grounded"),
    [
        (Persona("", "", ("I have a parrot called Pickles.",)), "My parrot is called Pickles!", True),
        (Persona("", "", ("I have a parrot.", "I live in Porto.")), "My parrot loves Porto.", False),
        (Persona("", "I am a baker. I live in Porto.", ()), "A baker in Porto, that's me.", False),
        (Persona("", "I bake bread in Porto.\nI sing.", ()), "I bake in Porto.", True),
        (Persona("", "", ("I like to go out with people.",)), "I would like to go out with other people.", False),
        (Persona("", "", ()), "Hello there", False),
    ],
)
def test_a_grounded_reply_shares_two_content_words_with_one_fact(persona: Persona, reply: str, grounded: bool) -> None:
    assert is_grounded(persona, reply) is grounded


def test_content_words_say_what_a_text_is_about() -> None:
    assert content_words("I don't like the big dogs that you have") == {"big", "dogs"}


@given(st.lists(st.integers(), unique=True, max_size=60), st.integers(1, 70))
def test_a_sample_keeps_the_order_and_covers_the_whole(items: list[int], count: int) -> None:
    chosen = spread(items, count)
    places = [items.index(item) for item in chosen]
    assert len(chosen) == min(count, len(items))
    assert places == sorted(set(places))
    for number, place in enumerate(places):
        assert number * len(items) // len(places) <= place < (number + 1) * len(items) // len(places)
    assert chosen == spread(items, count)


def test_of_swap_pairs_both_sides_are_chosen() -> None:
    rows = [a_row(number, pair_id=str(number // 2)) for number in range(40)]
    chosen = choose_rows(rows, 10)
    assert len(chosen) == 10
    assert all(sum(row.pair_id == other.pair_id for other in chosen) == 2 for row in chosen)


def test_distractors_are_nineteen_replies_of_other_conversations_the_same_ones_in_every_run() -> None:
    rows = [a_row(number, f"c{number // 2}") for number in range(60)] + [a_row(7, "elsewhere")]
    found = candidates(rows[7], rows)
    assert len(found) == len(set(found)) == 20
    assert found[-1] == rows[7].reference
    assert rows[6].reference not in found
    assert found == candidates(rows[7], rows)
    assert found[:-1] != candidates(rows[20], rows)[:-1]
    assert candidates(rows[0], rows[:20]) == ()


def test_a_rows_own_candidates_come_first() -> None:
    row = a_row(1, candidates=("a", "b", "gold"))
    assert candidates(row, [a_row(number) for number in range(50)]) == ("a", "b", "gold")


def test_metrics_are_named_alone_or_by_group() -> None:
    assert read_metrics("f1, hits") == {"f1", "hits_at_1", "hits_at_1_by_gain"}
    assert read_metrics(",".join(GROUPS)) == set(NAMES)
    assert set(NAMES) > NUMBERS


@pytest.mark.parametrize(("asked", "says"), [("f1,bleu,rouge", "no metric bleu, rouge"), (" , ", "names none")])
def test_an_unknown_metric_is_said_with_those_there_are(asked: str, says: str) -> None:
    with pytest.raises(InputError, match=f"{says}.*hits_at_1_by_gain"):
        read_metrics(asked)

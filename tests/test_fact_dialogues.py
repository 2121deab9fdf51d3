"""Dialogues made by rule: every answer agrees with the persona, nothing comes from the probes, and no two are alike."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from persona_chat import template
from persona_chat.dialogue import Speaker
from persona_chat.errors import InputError
from training.fact_dialogues import FactDialogue, dialogues, held_out_texts, make
from training.fact_topics import read_wordings
from training.fact_wording import article, speak

PROBES = Path(__file__).parent.parent / "examples/probes.jsonl"
COUNT = 1200

YES = re.compile(
    r"(?:yes|yeah|yep|oh yes|oh, but I|of course|indeed|I do\b|I am\b|I'm in\b|I can\b(?!')|I have\b(?! to)|I did\b|"
    r"that's (?:right|me)|exactly|right|true|correct|you guessed|actually, I (?:do|am|can|have|did)\b|"
    r"sure|gladly|happy to|with pleasure|certainly\b(?! not)|count me in|I'd love|great idea|sounds great|"
    r"thank you, yes)",
    re.IGNORECASE,
)
NO = re.compile(
    r"(?:no\b|nope|nah|not\b|none|wrong|sorry|I'm (?:not|afraid|the wrong)|I (?:don't|can't|haven't|didn't)|far from|"
    r"quite the opp|on the contrary|the opposite|certainly not|you're mistaken|thanks, but no|that's kind, but no|"
    r"I'd rather not|I'll pass|better not|count me out|without me|I have to say no|don't|please don't|oh no)",
    re.IGNORECASE,
)


@cache
def made() -> tuple[FactDialogue, ...]:
    return tuple(dialogues(COUNT, 5))


@cache
def rows() -> tuple[dict[str, Any], ...]:
    return tuple(dialogue.row(f"rule-5-{number:06}") for number, dialogue in enumerate(made()))


def plain(text: str) -> str:
    """The text as the comparison with the probes takes it."""
    text = text.casefold().replace("’", "'").replace("i'm", "i am").replace("i've", "i have")
    return " ".join(re.findall(r"\w+", text.replace("can't", "cannot").replace("n't", " not")))


def probes() -> list[dict[str, Any]]:
    return [json.loads(line) for line in PROBES.read_text(encoding="utf-8").splitlines()]


def sentences(row: dict[str, Any]) -> list[str]:
    return [*row.get("persona_b", ()), *re.split(r"(?<=[.!?])\s+", row.get("about", ""))]


def test_every_row_is_an_example_that_person_b_answers() -> None:
    for row in rows():
        assert set(row) - {"about"} == {"persona_b", "dialogue", "reference", "conv_id", "provenance"}
        persona, dialogue = template.read_example(row)
        assert persona.about or persona.facts
        assert [turn.speaker for turn in dialogue] == [(Speaker.A, Speaker.B)[i % 2] for i in range(len(dialogue))]
        assert all(turn.text == turn.text.strip() != "" for turn in dialogue)
        for said in [row["reference"], *(turn.text for turn in dialogue if turn.speaker is Speaker.B)]:
            assert 1 <= len(said.split()) <= 25
            assert template.read_reply(f" {said}") == said


def test_no_wording_is_left_unfilled_and_every_sentence_begins_and_ends_as_one() -> None:
    for row in rows():
        for text in [*sentences(row), *row["dialogue"], row["reference"]]:
            assert not re.search(r"[\[\]{}<>|~_]|  | [.,?!]|\b(?:a a|an an|the the)\b", text)
        for text in [fact for fact in sentences(row) if fact] + [pair.answered for pair in made_pairs()[:100]]:
            assert re.match(r"[^a-z]", text)
            assert text[-1] in ".!?"


def test_a_persona_told_of_somebody_else_has_verbs_that_fit() -> None:
    told = [row["about"] for row in rows() if row.get("about")]
    wrong = re.compile(
        r"\b(?:[Hh]e|[Ss]he) (?:am|are|have|do|were|take|like|love|live|speak|eat)\b"
        r"|\b(?<!to )(?:[Yy]ou|[Tt]hey) (?:am|is|has|was)\b|\b(?!I\b)\w+ am\b(?<!and am)"
    )
    assert not [text for text in told if wrong.search(text)]


@cache
def made_pairs() -> list[Any]:
    return [pair for dialogue in made() for pair in dialogue.pairs]


def test_the_same_seed_makes_the_same_rows_in_every_process_and_another_makes_others(tmp_path: Path) -> None:
    files = []
    for hash_seed in ("1", "2"):
        files.append(tmp_path / f"{hash_seed}.jsonl.gz")
        command = [
            sys.executable,
            "-m",
            "training.fact_dialogues",
            "--count",
            "40",
            "--seed",
            "3",
            "--out",
            str(files[-1]),
        ]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed})
    assert files[0].read_bytes() == files[1].read_bytes()
    read = [json.loads(line) for line in gzip.decompress(files[0].read_bytes()).decode().splitlines()]
    assert read == make(40, 3)
    assert not {json.dumps(row["dialogue"]) for row in read} & {json.dumps(row["dialogue"]) for row in make(40, 4)}
    assert len({row["conv_id"] for row in [*read, *make(40, 4)]}) == 80


def test_nothing_of_the_probes_is_in_the_rows() -> None:
    facts = {plain(text) for probe in probes() for text in sentences(probe)}
    asked = {plain(line.removeprefix("Persona A:")) for probe in probes() for line in probe["dialogue"]}
    for row in rows():
        assert not [text for text in sentences(row) if text and plain(text) in facts]
        lines = [line for line in row["dialogue"] if line.startswith("Persona A:")]
        assert not [line for line in lines if plain(line.removeprefix("Persona A:")) in asked]


def test_nobody_of_the_probes_or_of_the_examples_kept_for_evaluation_comes_in() -> None:
    told = " ".join(text for probe in probes() for text in sentences(probe))
    taken = set(re.findall(r"\w+", told)) | {"David", "Vera", "Nemo", "Pickles"}
    lists = read_wordings().lists
    assert not {name for key in ("girl", "boy", "pet") for name in lists[key]} & taken


def test_without_the_probes_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="checkout"):
        held_out_texts(tmp_path / "probes.jsonl")


def test_an_answer_says_yes_or_no_as_the_facts_have_it() -> None:
    for pair in made_pairs():
        if pair.truth is True:
            assert YES.match(pair.answered), pair
            assert not NO.match(pair.answered), pair
        elif pair.truth is False:
            assert NO.match(pair.answered), pair
            assert not YES.match(pair.answered), pair


def test_neither_yes_nor_no_is_the_better_guess_whatever_the_form_of_the_question() -> None:
    forms = {
        "all": r"",
        "do you": r"^do you\b",
        "are you": r"^are you\b",
        "claim": r"^(?:so you|i bet|i guess|let me guess|surely|you\b)",
        "tag": r"(?:don't you|aren't you|right)\?$",
        "denied": r"^(?:you don't|don't you|so you don't|you're not|aren't you|so you're not)\b",
    }
    for form, pattern in forms.items():
        truths = [p.truth for p in made_pairs() if p.truth is not None and re.search(pattern, p.asked, re.I)]
        assert len(truths) > 100, form
        margin = 0.05 if form == "all" else 0.15
        assert abs(sum(truths) / len(truths) - 0.5) <= margin, form


def test_a_question_whether_they_like_a_thing_is_answered_by_what_the_persona_says_of_it() -> None:
    things = "|".join(line.split(" | ")[0] for line in read_wordings().lists["taste"])
    # Facts say it of "I", "you" or "she", so the verbs may end in "s".
    liked = re.compile(
        rf"\b(?:loves?|loved|adores?|crazy about|really likes?|fan of|better than|enough of) ({things})\b"
    )
    hated = re.compile(rf"\b(?:hates?|cannot stand|can't stand|dislikes?|not like|n't like|avoids?) ({things})\b")
    question = re.compile(
        rf"(?<!how )\b(?:do you|so you|i bet you|^you) (like|love|enjoy|hate|dislike) ({things})\b", re.I
    )
    seen: Counter[bool] = Counter()
    for dialogue, row in zip(made(), rows(), strict=True):
        told = " ".join(sentences(row))
        for pair in dialogue.pairs:
            if (asked := question.search(pair.asked)) is None:
                continue
            likes, hates = asked[2] in liked.findall(told), asked[2] in hated.findall(told)
            assert not (likes and hates)
            if likes or hates:
                right = likes == (asked[1] in ("like", "love", "enjoy"))
                assert (YES if right else NO).match(pair.answered), (told, pair)
                seen[right] += 1
    assert min(seen[True], seen[False]) >= 5


def test_a_number_of_children_in_an_answer_is_the_number_of_the_persona() -> None:
    number = re.compile(r"\b(two|three|four|five|six) (?:kids|children)\b")
    seen = 0
    for dialogue, row in zip(made(), rows(), strict=True):
        told = number.findall(" ".join(sentences(row)))
        said = [word for pair in dialogue.pairs for word in number.findall(pair.answered)]
        assert not told or set(said) <= set(told)
        seen += bool(told and said)
    assert seen >= 5


CONTRADICTIONS = [
    (r"\bvegetarian|\bvegan\b|not eat meat|never eats? meat", r"(?:steak|roast lamb|fried chicken)\b"),
    (
        r"(?:am|is|are|been|'m|re) single\b|never been married|not married",
        r"\b(?:wife|husband)\b|been married for|am married",
    ),
    (
        r"\b(?:no pets|any pets|not want a pet|never had a pet)",
        r"(?:I have|I keep|I own) (?:a|two|three) (?:dog|cat|rabbit)",
    ),
    (
        r"\bonly child\b|no siblings|not have brothers",
        r"\b[Mm]y (?:brother|sister)|(?:a|older|younger) (?:brother|sister)\b",
    ),
    (
        r"\b(?:childless|no kids|not have children|any kids)",
        r"(?:\w+ (?:kids|children|grandchildren)) (?:keep|are|visit)",
    ),
    (r"never learned to swim|not know how to swim", r"I swim|good swimmer|fast swimmer|love swimming"),
    (r"\b(?:licence|cannot drive|can't drive|learned to drive)\b", r"I drive|I own an? \w+ (?:car|van|jeep)"),
    (r"\bgo to school\b|\bin \w+ grade\b", r"\bmarried\b|my wife|my husband|retired|I drive\b|night shift"),
    (r"\b(?:night owl|late riser|sleep until)", r"early bird|alarm rings"),
    (r"\bbald\b|no hair", r"(?:red|green|black|grey|blond|brown|blue|white|purple) hair"),
]


@pytest.mark.parametrize(("one", "other"), CONTRADICTIONS)
def test_a_persona_does_not_contradict_itself(one: str, other: str) -> None:
    personas = [" ".join(sentences(row)) for row in rows()]
    assert [told for told in personas if re.search(one, told)]
    assert not [told for told in personas if re.search(one, told) and re.search(other, told)]


def test_the_facts_stand_in_the_list_in_the_text_or_in_both() -> None:
    places = Counter((bool(row.get("about")), bool(row["persona_b"])) for row in rows())
    assert set(places) == {(True, False), (False, True), (True, True)}
    assert 0.4 <= (places[True, False] + places[True, True]) / len(rows()) <= 0.6


def test_lines_hardly_repeat_and_every_topic_comes() -> None:
    assert len({pair.asked for pair in made_pairs()}) > 3500
    assert len({pair.answered for pair in made_pairs()}) > 4000
    asked = {pair.topic for pair in made_pairs()}
    assert {topic.name for topic in read_wordings().topics} <= asked
    assert max(Counter(pair.answered for pair in made_pairs()).values()) < 0.02 * len(made_pairs())


@pytest.mark.parametrize(
    ("fact", "person", "name", "said"),
    [
        ("I [have] two cats and I [do] not like dogs", "she", "", "She has two cats and she does not like dogs."),
        ("I [am] a cook and my wife hates me", "he", "Lars", "Lars is a cook and his wife hates him."),
        ("My cats wake me", "they", "Noor", "Noor's cats wake them."),
        ("I [carry] it, I [am] strong", "they", "Noor", "Noor carries it, they are strong."),
        ("I [was] ill. I [am] well", "you", "", "You were ill. You are well."),
    ],
)
def test_a_fact_is_told_of_somebody_else_in_good_grammar(fact: str, person: str, name: str, said: str) -> None:
    assert speak(fact, person, Random(1), name) == said


def test_articles_go_by_sound() -> None:
    words = [
        "apple",
        "unicorn",
        "hour",
        "uncle",
        "8-year-old",
        "18-year-old",
        "80-year-old",
        "unhappy man",
        "ukulele",
        "one",
    ]
    assert [article(word) for word in words] == ["an", "a", "an", "an", "an", "an", "an", "an", "a", "a"]


def test_every_field_of_a_topic_is_used() -> None:
    for topic in read_wordings().topics:
        asks = [line for ask in topic.asks for line in (*ask.questions, *ask.answers, *ask.then_answers)]
        text = " ".join([*topic.facts, *asks, *topic.values[0].values()])
        unused = [field for field in topic.values[0] if not re.search(rf"\{{(?:a )?{field}[23]?\}}", text)]
        assert set(unused) <= {"thing", "tag", "out"}, topic.name

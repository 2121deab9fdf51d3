"""Dialogues made by rule: questions about a persona's facts, with answers that agree with them.

`python -m training.fact_dialogues --count 3000 --seed 1 --out facts.jsonl.gz` writes them as training rows. The
wordings are in `training/facts/`; the probes of the evaluation are read so that nothing of them comes in here.
"""

import argparse
import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from persona_chat.errors import InputError
from persona_chat.example import example_file
from training.card import source_file
from training.fact_answers import answer
from training.fact_persona import MadePersona, Written, make_persona, write
from training.fact_topics import INDIRECT_KINDS, NO_KINDS, NO_TOPIC, YES_KINDS, Ask, Unknown, Wordings, read_wordings
from training.fact_wording import Case, Question, fill, question, sentence

PROBES = example_file("probes.jsonl")

PAIRS = (4, 7)
OPEN = 40  # of 100 questions, those that are not answered with yes or no
WORDS = 25  # of an answer

_SMALL_WORD = re.compile(
    r"(?:am|and|any|are|at|can|could|did|do|does|don't|aren't|have|how|in|is|isn't|it|it's|let|let's|my|on|shall|should|so|"
    r"somebody|surely|tell|the|there|there's|were|what|what's|when|where|which|who|why|will|would|you|you're|your)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Pair:
    """A Person A line and Person B's answer. `truth` is what a short answer would be: yes, no, or None."""

    asked: str
    answered: str
    truth: bool | None
    topic: str = ""


@dataclass(frozen=True)
class FactDialogue:
    """A persona, as written in its row, and the pairs of the dialogue; the last answer is the reference."""

    written: Written
    pairs: tuple[Pair, ...]

    def row(self, conv_id: str) -> dict[str, Any]:
        """Return the row of the data set."""
        spoken = [line for pair in self.pairs for line in (f"Persona A: {pair.asked}", f"Persona B: {pair.answered}")]
        about = {"about": self.written.about} if self.written.about else {}
        return {
            **about,
            "persona_b": list(self.written.facts),
            "dialogue": spoken[:-1],
            "reference": self.pairs[-1].answered,
            "conv_id": conv_id,
            "provenance": "made by rule",
        }


def make(count: int, seed: int, open_of_100: int = OPEN) -> list[dict[str, Any]]:
    """Return `count` rows in the data set's form, the same ones for the same seed and share of open questions."""
    made = dialogues(count, seed, open_of_100)
    return [dialogue.row(f"rule-{seed}-{number:06}") for number, dialogue in enumerate(made)]


def dialogues(count: int, seed: int, open_of_100: int = OPEN) -> Iterator[FactDialogue]:
    """Yield `count` dialogues. Raises InputError when the probes to leave out are not there."""
    wordings = read_wordings()
    held_out = held_out_texts(PROBES)
    maker = _Maker(wordings, Random(seed), lambda text: normal(text) not in held_out, open_of_100)  # noqa: S311  not a secret
    for _ in range(count):
        yield maker.dialogue()


def held_out_texts(probes: Path) -> frozenset[str]:
    """Return the probes' facts, sentences and Person A lines, normalised."""
    if not probes.is_file():
        raise InputError(f"The probes to keep out of the training rows are not at {probes}. Run this in a checkout.")
    texts: set[str] = set()
    for line in probes.read_text(encoding="utf-8").splitlines():
        probe = json.loads(line)
        texts.update(probe["persona_b"])
        texts.update(re.split(r"(?<=[.!?])\s+", probe["about"]))
        texts.update(turn.removeprefix("Persona A:") for turn in probe["dialogue"] if turn.startswith("Persona A:"))
    return frozenset(normal(text) for text in texts if text)


def normal(text: str) -> str:
    """Return the text in lower case, contractions written out, without marks."""
    text = text.casefold().replace("’", "'")
    for short, long in (("i'm", "i am"), ("i've", "i have"), ("can't", "cannot"), ("n't", " not"), ("'re", " are")):
        text = text.replace(short, long)
    return " ".join(re.findall(r"\w+", text))


class _Maker:
    def __init__(self, wordings: Wordings, rng: Random, allowed: Callable[[str], bool], open_of_100: int) -> None:
        self._wordings, self._talk, self._rng = wordings, wordings.talk, rng
        self._allowed, self._open = allowed, open_of_100
        # Whether the last answer ended with a question to Person A.
        self._asked_back = False
        # How many more affirmed than denied answers there are, direct and indirect: the next leans the other way.
        self._lean = {False: 0, True: 0}

    def dialogue(self) -> FactDialogue:
        """Make the next dialogue."""
        self._asked_back = False
        persona = make_persona(self._wordings, self._rng, self._allowed)
        written = write(persona, self._wordings, self._rng, self._allowed)
        pairs: list[Pair] = []
        if self._rng.random() < 0.4:
            pairs.append(self._small_talk("greeting", "greeting_answer"))
            if self._rng.random() < 0.4:
                pairs.append(self._small_talk("how", "how_answer"))
        pairs += self._questions(persona, written)
        if self._rng.random() < 0.12:
            pairs.append(self._small_talk("closing", "closing_answer"))
        return FactDialogue(written, tuple(pairs))

    def _questions(self, persona: MadePersona, written: Written) -> list[Pair]:
        wanted = self._rng.randint(*PAIRS)
        pairs: list[Pair] = []
        used: set[int] = set()
        asked: dict[str, int] = {}
        if written.named and self._rng.random() < 0.4:
            pairs.append(self._about_name(persona))
        for _ in range(wanted):
            if self._rng.random() < 0.09 and (pair := self._unknown(persona, used, first=not pairs)) is not None:
                pairs.append(pair)
                continue
            choice = self._choose(persona.cases, used, asked)
            if choice is None:
                break
            case, ask = choice
            used.add(id(ask))
            asked[case.topic.name] = asked.get(case.topic.name, 0) + 1
            pairs += self._pair(case, ask, first=not pairs)
        return pairs

    def _choose(self, cases: Sequence[Case], used: set[int], asked: Mapping[str, int]) -> tuple[Case, Ask] | None:
        fresh = [
            (case, ask)
            for case in cases
            for ask in case.topic.asks
            if id(ask) not in used and asked.get(case.topic.name, 0) < 3
        ]
        if not fresh:
            return None
        indirect = self._rng.random() < 0.4
        closed = 100 - self._open
        yes, no = (0.75, 0.25) if self._lean[indirect] < 0 else (0.25, 0.75)
        weights = (self._open, closed * yes, closed * no)
        kinds = self._rng.choices((frozenset({"open"}), YES_KINDS, NO_KINDS), weights)[0]
        if "open" not in kinds:
            kinds = kinds & INDIRECT_KINDS if indirect else kinds - INDIRECT_KINDS
        fitting = [(case, ask) for case, ask in fresh if ask.kind in kinds] or fresh
        fewest = min(asked.get(case.topic.name, 0) for case, _ in fitting)
        return self._rng.choice([pair for pair in fitting if asked.get(pair[0].topic.name, 0) == fewest])

    def _pair(self, case: Case, ask: Ask, *, first: bool) -> list[Pair]:
        rng = self._rng
        for _ in range(50):
            asked = question(fill(rng.choice(ask.questions), case, rng), rng)
            answered = answer(ask, asked, case, self._talk, rng)
            if self._allowed(asked.text) and self._allowed(answered) and 1 <= len(answered.split()) <= WORDS:
                break
        else:
            return []
        truth = True if ask.kind in YES_KINDS else False if ask.kind in NO_KINDS else None
        if truth is not None:
            self._lean[ask.kind in INDIRECT_KINDS] += 1 if truth else -1
        line = self._typed(asked, first=first)
        if ask.kind in ("open", "yes", "no") and not ask.then_questions and rng.random() < 0.06:
            answered = f"{answered} {rng.choice(self._talk['asks_back'])}"
            self._asked_back = True
        pairs = [Pair(line, answered, truth, case.topic.name)]
        if ask.then_questions and rng.random() < 0.45:
            then = Question(sentence(fill(rng.choice(ask.then_questions), case, rng)))
            if self._allowed(then.text):
                told = sentence(fill(rng.choice(ask.then_answers), case, rng))
                pairs.append(Pair(self._typed(then, first=False), told, None, case.topic.name))
        return pairs

    def _typed(self, asked: Question, *, first: bool) -> str:
        """The question as somebody types it: a word on the answer before it at times, or all in small letters."""
        text = asked.text
        if self._asked_back:
            self._asked_back = False
            text = f"{self._rng.choice(self._talk['asked_back'])} {text}"
        elif not first and self._rng.random() < 0.25:
            text = _after(self._rng.choice(self._talk["reaction"]), text)
        elif first and self._rng.random() < 0.08:
            text = _after(self._rng.choice(("Hi!", "Hey,", "Hello!", "Hi,")), text)
        if self._rng.random() < 0.08:
            text = text.lower()
            text = text.rstrip(".?!") if self._rng.random() < 0.5 else text
        return text if self._allowed(text) else _after("Well,", text)

    def _about_name(self, persona: MadePersona) -> Pair:
        case = Case(NO_TOPIC, {"name": persona.name}, self._wordings.lists, self._rng, {persona.name})
        kind = self._rng.choice(("name", "name_yes", "name_no"))
        asked = fill(self._rng.choice(self._talk[f"{kind}_question"]), case, self._rng)
        told = fill(self._rng.choice(self._talk[f"{kind}_answer"]), case, self._rng)
        truth = {"name": None, "name_yes": True, "name_no": False}[kind]
        self._lean[False] += {None: 0, True: 1, False: -1}[truth]
        return Pair(sentence(asked), sentence(told), truth, "name")

    def _unknown(self, persona: MadePersona, used: set[int], *, first: bool) -> Pair | None:
        spoken = {group for case in persona.cases for group in (*case.topic.groups, *case.topic.tags)}
        free = [item for item in self._wordings.unknown if id(item) not in used and not item.groups & spoken]
        if not free:
            return None
        item: Unknown = self._rng.choice(free)
        used.add(id(item))
        case = Case(NO_TOPIC, {}, self._wordings.lists, self._rng)
        asked = Question(sentence(fill(self._rng.choice(item.questions), case, self._rng)))
        return Pair(
            self._typed(asked, first=first), sentence(fill(self._rng.choice(item.answers), case, self._rng)), None
        )

    def _small_talk(self, asked: str, answered: str) -> Pair:
        case = Case(NO_TOPIC, {}, self._wordings.lists, self._rng)
        texts = [fill(self._rng.choice(self._talk[key]), case, self._rng) for key in (asked, answered)]
        return Pair(sentence(texts[0]), sentence(texts[1]), None)


def _after(word: str, text: str) -> str:
    """The text after "By the way," and the like: with a small letter, unless it begins with "I" or a name."""
    inner = word[-1] in ",:" and _SMALL_WORD.match(text)
    return f"{word} {text[:1].lower() + text[1:] if inner else text}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write rows to a gzipped JSONL file, and beside it where they come from."""
    parser = argparse.ArgumentParser(prog="python -m training.fact_dialogues", description=main.__doc__)
    parser.add_argument("--count", type=int, required=True, help="how many dialogues")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--open", type=int, default=OPEN, help="of 100 questions, how many want more than yes or no")
    parser.add_argument("--out", type=Path, required=True, help="a new .jsonl.gz file")
    given = parser.parse_args(arguments)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make(given.count, given.seed, given.open))
    # Without a time and a name inside, the same rows are the same file.
    given.out.write_bytes(gzip.compress(text.encode(), mtime=0))
    about = {
        "provenance": f"made by rule (training/fact_dialogues.py, seed {given.seed}, {given.open} of 100 open)",
        "licence": "Apache-2.0",
    }
    source_file(given.out).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

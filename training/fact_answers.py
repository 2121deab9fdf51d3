"""Answers: an opening that agrees or not, as the facts have it, and then the words of the topic or the fact itself."""

import re
from collections.abc import Mapping, Sequence
from random import Random

from training.fact_topics import YES_KINDS, Ask
from training.fact_wording import Case, Question, fill, sentence, short_answer, speak

_BARE = 0.07  # share of answers that say yes or no and no more
_MORE = 0.3  # share of those that could have a second sentence which have one
_ECHO = 0.22  # share of answers that go on with the fact in one of its wordings


def answer(ask: Ask, asked: Question, case: Case, talk: Mapping[str, Sequence[str]], rng: Random) -> str:
    """Return an answer to the question that is true of the case."""
    line = fill(rng.choice(ask.answers), case, rng)
    if ask.kind == "open":
        return ended(line, rng)
    if line.startswith("!"):
        return ended(line[1:].strip(), rng)
    if ask.echo and ask.kind in ("yes", "no", "opposite") and rng.random() < _ECHO:
        fact = speak(fill(rng.choice(case.topic.facts), case, rng), "I", rng).removesuffix(".")
        # A fact may begin with a name, which keeps its capital.
        line = fact[:1].lower() + fact[1:] if fact.startswith(("My ", "The ", "There ")) else fact
    opening = _opening(ask, asked, talk, rng)
    if rng.random() < _BARE:
        return ended(opening, rng)
    link = rng.choices((", ", ". ", "! "), (65, 22, 13))[0]
    if line[0].isupper() and not line.startswith(("I ", "I'")):
        link = ". "
    if line.startswith(("and ", "but ", "so ")):
        link = ", "
    tail = line if link == ", " else line[:1].upper() + line[1:]
    return ended(f"{opening}{link}{tail}", rng) + _more(ask, line, case, rng)


def _more(ask: Ask, line: str, case: Case, rng: Random) -> str:
    """A second sentence, at times: another of the answers that repeats no long word of the first."""
    second = fill(rng.choice(ask.answers), case, rng)
    words, others = (set(re.findall(r"[\w'-]{5,}", text.lower())) for text in (line, second))
    fits = second.startswith(("I ", "I'm ")) and not words & others and second != line
    return f" {sentence(second)}" if fits and rng.random() < _MORE else ""


def ended(text: str, rng: Random) -> str:
    """Return the text as a sentence, with an exclamation mark at times."""
    if text[-1:] not in ".!?" and rng.random() < 0.15:
        text += "!"
    return sentence(text)


def _opening(ask: Ask, asked: Question, talk: Mapping[str, Sequence[str]], rng: Random) -> str:
    yes = ask.kind in YES_KINDS
    if ask.kind not in ("yes", "no", "opposite"):
        return rng.choice(talk[ask.kind])
    lines = list(talk[ask.kind])
    if asked.form != "plain":
        lines = list(talk[f"{'yes' if yes else 'no'}_{asked.form}"]) + lines[: len(lines) // 2]
    if not asked.auxiliary:
        lines = [line for line in lines if "{short}" not in line]
        return rng.choice(lines)
    return rng.choice(lines).replace("{short}", short_answer(asked.auxiliary, yes=yes))

"""A made-up persona: cases of topics that go together, and its facts as a list, as a text about it, or as both."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from training.fact_topics import NO_TOPIC, Topic, Wordings
from training.fact_wording import Case, fill, speak

FACTS = (3, 7)

_SENTENCES = re.compile(r"(?<=[.!?])\s+")

_PARENTS = {"he": "father", "she": "mother", "they": "parent"}


@dataclass(frozen=True)
class MadePersona:
    """A persona and what stands behind its facts. `sources` are its facts with the verbs still marked, a case each."""

    name: str
    pronoun: str
    cases: tuple[Case, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """The persona as a row has it; `named` says whether its name can be read there."""

    about: str
    facts: tuple[str, ...]
    named: bool


def make_persona(wordings: Wordings, rng: Random, allowed: Callable[[str], bool]) -> MadePersona:
    """Make a persona of 3 to 7 topics that do not contradict each other, of facts that are `allowed`."""
    pronoun = rng.choices(("he", "she", "they"), (45, 45, 10))[0]
    name = rng.choice(wordings.lists[{"he": "boy", "she": "girl"}.get(pronoun, rng.choice(("boy", "girl")))])
    taken = {name}
    chosen: list[Case] = []
    sources: list[str] = []
    wanted = rng.randint(*FACTS)
    for topic in sorted(wordings.topics, key=lambda topic: -(rng.random() ** (1 / topic.weight))):
        if len(chosen) == wanted:
            break
        if any(_conflict(topic, case.topic) for case in chosen):
            continue
        case = _case(topic, pronoun, wordings, rng, taken)
        source = fill(rng.choice(topic.facts), case, rng)
        if _overlap(case, chosen) or not allowed(speak(source, "I", rng)):
            continue
        chosen.append(case)
        sources.append(source)
    return MadePersona(name, pronoun, tuple(chosen), tuple(sources))


def write(persona: MadePersona, wordings: Wordings, rng: Random, allowed: Callable[[str], bool]) -> Written:
    """Write the facts down: in half of the cases as a list, else in `about`, or some here and some there.

    Every sentence is `allowed`.
    """
    while True:
        written = _written(persona, wordings, rng)
        if all(allowed(text) for text in (*written.facts, *_SENTENCES.split(written.about))):
            return written


def _written(persona: MadePersona, wordings: Wordings, rng: Random) -> Written:
    place = rng.choices(("list", "about", "both"), (48, 30, 22))[0]
    order = rng.sample(range(len(persona.sources)), len(persona.sources))
    told = {"list": 0, "about": len(order), "both": rng.randint(1, len(order) - 1)}[place]
    about, named = _about(persona, order[:told], wordings, rng) if told else ("", False)
    facts = [speak(persona.sources[index], "I", rng) for index in order[told:]]
    if not named and facts and rng.random() < 0.15:
        facts.insert(rng.randint(0, len(facts)), f"{rng.choice(('My name is', 'I am', 'I am called'))} {persona.name}.")
        named = True
    return Written(about, tuple(facts), named)


def _about(persona: MadePersona, order: Sequence[int], wordings: Wordings, rng: Random) -> tuple[str, bool]:
    person = rng.choices((persona.pronoun, "I", "you"), (55, 25, 20))[0]
    third = person == persona.pronoun
    named = third or rng.random() < 0.7
    cases = [persona.cases[index] for index in order]
    values = {key: case.values[key] for key, topic in _INTRO.items() for case in cases if case.topic.name == topic}
    values["name"] = persona.name
    openings = [line for line in wordings.talk["intro_third" if third else "intro"] if _slots(line) <= set(values)]
    opening = rng.choice(openings) if named and openings else ""
    told = {_INTRO[slot] for slot in _slots(opening) if slot in _INTRO}
    rest = [persona.sources[i] for i in order if persona.cases[i].topic.name not in told]
    texts = []
    if opening:
        intro = Case(NO_TOPIC, dict(values), wordings.lists, rng)
        texts.append(speak(fill(opening, intro, rng), person, rng))
    for source in _joined(rest, rng):
        name = persona.name if third and (not texts or rng.random() < 0.1) else ""
        texts.append(speak(source, person, rng, name))
    return "".join(text + rng.choices((" ", "\n"), (93, 7))[0] for text in texts).strip(), named


_INTRO = {"job": "job", "age": "age", "num": "age", "city": "city"}


def _slots(line: str) -> set[str]:
    return {part.split("}")[0].removeprefix("a ") for part in line.split("{")[1:]}


def _joined(sources: Sequence[str], rng: Random) -> list[str]:
    """Put two short facts into one sentence, at times: "I have two kids and play the cello."."""
    joined: list[str] = []
    for source in sources:
        last = joined[-1] if joined else ""
        both = last.startswith("I [") and source.startswith("I [") and len(last.split()) < 10
        if both and " and " not in last + source and "," not in last and rng.random() < 0.35:
            joined[-1] = f"{last.removesuffix('.')} and {source.removeprefix('I ')}"
        else:
            joined.append(source)
    return joined


def _case(topic: Topic, pronoun: str, wordings: Wordings, rng: Random, taken: set[str]) -> Case:
    parent = _PARENTS[pronoun]
    values = {"parent": parent, "grandparent": f"grand{parent}", **rng.choice(topic.values)}
    return Case(topic, values, wordings.lists, rng, taken)


def _conflict(one: Topic, other: Topic) -> bool:
    return bool(one.groups & other.groups or one.tags & other.rules_out or other.tags & one.rules_out)


def _overlap(case: Case, chosen: Sequence[Case]) -> bool:
    """Whether another topic speaks of the same thing: to love snow and to hate it, or a value tagged out."""
    mine = case.values.get("thing")
    if mine and any(mine == other.values.get("thing") for other in chosen):
        return True
    name = case.topic.name.split()[0]
    if any(_subject(case) & _subject(other) for other in chosen if other.topic.name.split()[0] == name):
        return True
    tags, out = _tags(case), _out(case)
    return any(tags & _out(other) or _tags(other) & out for other in chosen)


def _subject(case: Case) -> set[str]:
    """The words that say what one of several cases of a topic is about: two favourite colours would be one too many."""
    words = {word for field in list(case.topic.values[0])[:2] for word in case.values[field].lower().split()}
    return words - {"very", "quite", "always", "the", "a"}


def _tags(case: Case) -> set[str]:
    return {*case.topic.tags, *case.values.get("tag", "").split()}


def _out(case: Case) -> set[str]:
    return {*case.topic.rules_out, *case.values.get("out", "").split()}

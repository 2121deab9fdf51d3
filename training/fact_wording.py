"""From the lines of a topic to sentences: choices, slots, articles, grammatical person, forms of questions and answers.

It knows no topic by name and makes no dialogue.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from training.fact_topics import Lists, Topic

_CHOICE = re.compile(r"<([^<>]*)>")
_SLOT = re.compile(r"\{(a )?([a-z_]+?)([23]?)\}")
_VERB = re.compile(r"\[(\w+)\]")
_SELF = re.compile(r"\b(I|me|My|my|mine|myself)\b")
_OPTIONAL = re.compile(r"\((\w+)\) ?")
_PAST = re.compile(r"(\w+)~(\w+)")

_PRONOUNS = {
    "you": ("you", "you", "your", "yours", "yourself"),
    "he": ("he", "him", "his", "his", "himself"),
    "she": ("she", "her", "her", "hers", "herself"),
    "they": ("they", "them", "their", "theirs", "themselves"),
}
_IRREGULAR = {"am": "is", "have": "has", "do": "does", "was": "was", "go": "goes"}
_CONTRACTIONS = (
    ("I am", "I'm"),
    ("I have never", "I've never"),
    ("I have been", "I've been"),
    ("I have always", "I've always"),
    ("do not", "don't"),
    ("cannot", "can't"),
    ("did not", "didn't"),
    ("have not", "haven't"),
)


# What two topics of one persona must not share, for a question about it to have one answer.
_UNIQUE = frozenset({"girl", "boy", "pet", "thingname", "day"})


@dataclass
class Case:
    """A topic with its values for one persona; a slot keeps what it was first filled with."""

    topic: Topic
    values: dict[str, str]
    lists: Lists
    rng: Random
    taken: set[str] = field(default_factory=set)

    def slot(self, name: str, which: str) -> str:
        """Return the text of a slot; `which` is "", or "2" or "3" for one that differs from those before."""
        key = name + which
        if key not in self.values:
            others = {self.values.get(name), self.values.get(name + "2"), *self.taken}
            choices = [value for value in self._choices(name) if value not in others]
            self.values[key] = self.rng.choice(choices)
            if name in _UNIQUE:
                self.taken.add(self.values[key])
        return self.values[key]

    def _choices(self, name: str) -> Sequence[str]:
        # A set would come in another order in every process.
        own = dict.fromkeys(value[name] for value in self.topic.values if name in value)
        return tuple(own) or self.lists[name]


@dataclass(frozen=True)
class Question:
    """A question with the auxiliary of its short answer, if any, and its form: plain, claim or negated."""

    text: str
    auxiliary: str = ""
    form: str = "plain"


@dataclass(frozen=True)
class _Auxiliary:
    ask: str
    state: str
    tag: str
    deny: str
    deny_tag: str
    ask_denied: str
    yes: str
    no: str


_AUXILIARIES: Mapping[str, _Auxiliary] = {
    "do": _Auxiliary("do you", "you", "don't you", "you don't", "do you", "don't you", "I do", "I don't"),
    "be": _Auxiliary("are you", "you're", "aren't you", "you're not", "are you", "aren't you", "I am", "I'm not"),
    "can": _Auxiliary("can you", "you can", "can't you", "you can't", "can you", "can't you", "I can", "I can't"),
    "have": _Auxiliary(
        "have you", "you've", "haven't you", "you haven't", "have you", "haven't you", "I have", "I haven't"
    ),
    "did": _Auxiliary("did you", "you", "didn't you", "you didn't", "did you", "didn't you", "I did", "I didn't"),
}


def fill(line: str, case: Case, rng: Random) -> str:
    """Return the line with its choices made and its slots filled."""
    while (choice := _CHOICE.search(line)) is not None:
        line = line[: choice.start()] + rng.choice(choice[1].split("|")) + line[choice.end() :]

    def value(match: re.Match[str]) -> str:
        text = case.slot(match[2], match[3])
        return f"{article(text)} {text}" if match[1] else text

    # A choice may be empty and leave its spaces.
    return re.sub(r"\s+(?=[\s?.!,])", "", _SLOT.sub(value, line)).strip()


def article(text: str) -> str:
    """Return "a" or "an", by how the text sounds."""
    first = text.lower()
    if re.match(r"(?:8|11\b|18\b|hour|honest|heir)", first):
        return "an"
    if re.match(r"(?:uni(?!n)|use|usu|eu|one\b|once\b|ukulele|utop)", first):
        return "a"
    return "an" if first[:1] in "aeiou" else "a"


def speak(fact: str, person: str, rng: Random, name: str = "") -> str:
    """Return a fact in grammatical person "I", "you", "he", "she" or "they".

    With `name` the first mention is the name.
    """
    if person == "I":
        text = _VERB.sub(r"\1", fact)
        return sentence(contracted(text, rng))
    words = dict(zip(("I", "me", "my", "mine", "myself"), _PRONOUNS[person], strict=True))
    out, singular, named = [], person in ("he", "she"), False
    for piece in re.split(r"(\[\w+\]|\b(?:I|me|My|my|mine|myself)\b)", fact):
        if _SELF.fullmatch(piece):
            key = piece if piece == "I" else piece.lower()
            use_name = bool(name) and not named and key in ("I", "my", "me")
            out.append((f"{name}'s" if key == "my" else name) if use_name else words[key])
            singular = use_name if person == "they" else singular
            named = named or use_name
        elif (verb := _VERB.fullmatch(piece)) is not None:
            out.append(inflected(verb[1], singular=singular))
        else:
            out.append(piece)
    return sentence("".join(out))


def inflected(verb: str, *, singular: bool) -> str:
    """Return the verb of "I" as it stands after "she" (singular) or after "they" and "you"."""
    if not singular:
        return {"am": "are", "was": "were"}.get(verb, verb)
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if re.search(r"(?:s|sh|ch|x|z|o)$", verb):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else f"{verb}s"


def contracted(text: str, rng: Random) -> str:
    """Return the text with its contractions made, at times."""
    if rng.random() < 0.5:
        for long, short in _CONTRACTIONS:
            text = re.sub(rf"\b{long}\b", short, text)
    return text


def sentence(text: str) -> str:
    """Return the text with a capital first and a mark last."""
    text = _VERB.sub(r"\1", text)
    text = re.sub(r"(?:^|(?<=[.!?] ))[a-z]", lambda match: match[0].upper(), text)
    return text if text[-1:] in ".!?" else f"{text}."


def question(line: str, rng: Random) -> Question:
    """Return a question: as it stands, or for "do: have (any) kids" in one of the forms such a thing is asked in.

    A word in brackets is left out where the form claims that the thing is so.
    """
    kind, _, rest = line.partition(": ")
    if kind not in _AUXILIARIES:
        return Question(sentence(line))
    words = _AUXILIARIES[kind]
    asked = _OPTIONAL.sub(r"\1 ", _PAST.sub(r"\1", rest))
    claimed = _OPTIONAL.sub("", _PAST.sub(r"\2" if kind == "did" else r"\1", rest))
    form = rng.choices(("plain", "claim", "negated"), (50, 36, 14))[0]
    if form == "plain":
        text = rng.choices((f"{words.ask} {asked}?", f"tell me, {words.ask} {asked}?"), (9, 1))[0]
    elif form == "claim":
        text = _claim(f"{words.state} {claimed}", words.tag, rng)
        if kind == "be" and rng.random() < 0.25:
            text = f"you must be {claimed}{rng.choice(('.', ', right?', ', I guess?', '?'))}"
    else:
        denied = f"{words.deny} {asked}"
        text = rng.choice(
            (f"{denied}, {words.deny_tag}?", f"{words.ask_denied} {asked}?", f"so {denied}, {words.deny_tag}?")
        )
    return Question(sentence(text), kind, form)


def _claim(claim: str, tag: str, rng: Random) -> str:
    return rng.choice(
        (
            f"{claim}, {tag}?",
            f"so {claim}, right?",
            f"{claim}, right?",
            f"so {claim}?",
            f"I bet {claim}.",
            f"I bet {claim}, {tag}?",
            f"let me guess, {claim}?",
            f"let me guess: {claim}.",
            f"{claim}, I suppose?",
            f"I guess {claim}?",
            f"is it true that {claim}?",
            f"is it true that {claim}?",
            f"is it true that {claim}?",
            f"somebody told me that {claim}.",
            f"I heard {claim}, is that so?",
            f"am I right that {claim}?",
            f"{claim}, I imagine?",
            f"surely {claim}?",
            f"can I assume that {claim}?",
        )
    )


def short_answer(auxiliary: str, *, yes: bool) -> str:
    """Return "I do", "I'm not" and the like."""
    words = _AUXILIARIES[auxiliary]
    return words.yes if yes else words.no

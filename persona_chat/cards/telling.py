"""What a character can tell of itself: the parts of a description as short facts in the first person.

It knows English; a text in another language stays as it is, and so do sentences about something else.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from persona_chat.cards.attributes import LOOKS, NAMES, SKIPPED, sentences_of
from persona_chat.cards.markup import GONE, SELF, USER, written
from persona_chat.cards.prose import is_english, is_order, sentences
from persona_chat.cards.sheet import Attribute, Part, Prose, Speech
from persona_chat.cards.voice import Speaker, first_person
from persona_chat.persona import FACT_CHARACTERS

# Two sentences may share a fact when the second says "she" of somebody whom only the first names.
_TOGETHER_CHARACTERS = 200

_OWN_WORDS = re.compile(r"\b(?:I|i|me|[Mm]y|mine|myself|[Ww]e|[Oo]ur|us)\b")
_POINTING = re.compile(
    r"^(?:he|she|they|it|his|her|their|its|him|them|"
    r"(?:this|that|these|those)(?= (?:is|are|was|were|means|made|has)\b))\b",
    re.IGNORECASE,
)
_KIN = re.compile(
    rf"^(?:her|his|their|{SELF}['’]s|the) (?:\w+ ){{0,2}}?(?:"
    r"(?P<she>mother|mum|mom|sister|wife|daughter|girlfriend|aunt|grandmother|niece|queen)|"
    r"(?P<he>father|dad|brother|husband|son|boyfriend|uncle|grandfather|nephew|king)|"
    r"(?P<they>parents|friends|cats|dogs|brothers|sisters|children|siblings|neighbours|neighbors))\b",
    re.IGNORECASE,
)
_INTERJECTION = re.compile(
    r"^(?:(?:oh|well|ah|hm+|hey|hi|hello|um|uh|eh|so|yes|no|yeah|heh|ha(?:ha)*|ugh)\b[,!.…—-]*\s*)+", re.IGNORECASE
)


@dataclass
class Told:
    """What was told so far. `looks` are the places of those facts that only say what somebody looks like."""

    facts: list[str] = field(default_factory=list)
    looks: set[int] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    about: list[str] = field(default_factory=list)
    orders: int = 0
    broken: int = 0
    too_long: int = 0
    too_many: int = 0
    scene: bool = False
    english: bool = True
    # Where the latest sentence went, for one that goes on about the same.
    latest: list[str] = field(default_factory=list)

    def add(self, fact: str, *, is_look: bool = False) -> None:
        """Add a fact unless it is there already, or too long."""
        if len(fact) > FACT_CHARACTERS:
            self.too_long += 1
        elif (bare := _bare(fact)) and bare not in self.known:
            self.known.add(bare)
            if is_look:
                self.looks.add(len(self.facts))
            self.facts.append(fact)
            self.latest = self.facts


def tell(parts: Iterable[Part], speaker: Speaker, name: str, told: Told) -> None:
    """Add what the parts say to what was told."""
    parts = list(parts)
    told.english = told.english and is_english("\n".join(_text(part) for part in parts))
    for part in parts:
        if isinstance(part, Attribute):
            _tell_attribute(part, speaker, name, told)
        elif isinstance(part, Speech):
            _tell_speech(part, name, told)
        else:
            _tell_prose(part, speaker, name, told)


def _tell_attribute(attribute: Attribute, speaker: Speaker, name: str, told: Told) -> None:
    if attribute.key in NAMES:
        whole = attribute.values[0] if attribute.values else ""
        if name in whole and whole != name:
            told.add(f"My full name is {_ended(whole)}")
        return
    if attribute.key in SKIPPED:
        told.scene = told.scene or attribute.key in ("scenario", "setting", "world")
        return
    attribute = Attribute(attribute.key, tuple(value for value in attribute.values if GONE not in value))
    text = ", ".join(attribute.values)
    if not (told.english and is_english(f"{attribute.key} {text}")):
        told.about.append(written(f"{attribute.key.capitalize()}: {text}", name, "User"))
        return
    for sentence in sentences_of(attribute):
        told.add(_ended(written(first_person(sentence, speaker), name)), is_look=attribute.key in LOOKS)


def _tell_speech(speech: Speech, name: str, told: Told) -> None:
    """Statements about itself are facts; questions and cries are not."""
    for sentence in sentences(speech.text):
        sentence = _INTERJECTION.sub("", written(sentence, name))
        if sentence.endswith((".", "!")) and re.search(r"\b(?:I|I['’]m|I['’]ve|[Mm]y)\b", sentence) and " " in sentence:
            told.add(sentence[:1].upper() + sentence[1:])


def _tell_prose(prose: Prose, speaker: Speaker, name: str, told: Told) -> None:
    if not (told.english and is_english(prose.text)):
        told.about.extend(
            written(sentence, name, "User") for sentence in sentences(prose.text) if not is_order(sentence)
        )
        return
    other = ""  # by which pronoun the sentence before spoke of somebody else
    for sentence in sentences(prose.text):
        if is_order(sentence) or GONE in sentence:
            told.orders += is_order(sentence)
            told.broken += GONE in sentence
            continue
        opening = _POINTING.match(sentence)
        pronoun = opening[0].lower() if opening is not None else ""
        if pronoun and (pronoun == other or pronoun not in _pronouns(speaker)):
            # Of two women, "she" and "her" may be either: then the words stay as they are.
            teller = Speaker(speaker.names) if speaker.pronoun == other else speaker
            if _joined(sentence, teller, name, told):
                continue
        kin = _KIN.match(sentence)
        other = (kin.lastgroup or "") if kin is not None else ""
        _tell_sentence(sentence, speaker, name, told)


def _tell_sentence(sentence: str, speaker: Speaker, name: str, told: Told) -> None:
    fact = _ended(written(first_person(sentence, speaker), name))
    if _OWN_WORDS.search(fact):
        told.add(fact)
    elif len(fact.split()) > 1:
        told.about.append(fact)
        told.latest = told.about


def _joined(sentence: str, speaker: Speaker, name: str, told: Told) -> bool:
    """Put a sentence about somebody else behind the one that says who that is."""
    if not told.latest:
        return False
    together = f"{told.latest[-1]} {_ended(written(first_person(sentence, speaker), name))}"
    if len(together) <= _TOGETHER_CHARACTERS:
        told.latest[-1] = together
    else:
        told.too_many += 1
    return True


def _text(part: Part) -> str:
    return ", ".join(part.values) if isinstance(part, Attribute) else part.text


def _pronouns(speaker: Speaker) -> set[str]:
    return {"she": {"she", "her"}, "he": {"he", "his", "him"}, "they": {"they", "their", "them"}}.get(
        speaker.pronoun, {"it", "its"} if speaker.pronoun == "it" else set()
    )


def _ended(sentence: str) -> str:
    """The sentence in one line, tidied, with its full stop."""
    sentence = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(sentence.split())).strip(" ,;:-–—")
    sentence = re.sub(rf"[{SELF}{USER}{{}}]", "", sentence)
    return sentence if not sentence or sentence[-1] in ".!?…\"”')" else f"{sentence}."


def _bare(fact: str) -> str:
    return "".join(re.findall(r"\w+", fact.casefold()))

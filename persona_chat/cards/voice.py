"""Who speaks of itself, and how a text about it calls it. It knows English; the words are turned in `sentence`."""

import re
from dataclasses import dataclass

from persona_chat.cards.markup import SELF
from persona_chat.cards.sentence import NAMING, PRONOUNS, Sentence

# "Vera and her sister run": who speaks comes last.
_WITH_ANOTHER = re.compile(
    rf"{SELF} and ((?:[Hh]er|[Hh]is|[Tt]heir|[Ii]ts) \w+|[A-Z]\w+)(?= (?!is\b|was\b|has\b|\w+s\b))"
)


@dataclass(frozen=True)
class Speaker:
    """Who speaks of itself: the words that stand for it. `pronoun` is she, he, they, it, you, or empty."""

    names: tuple[str, ...]
    pronoun: str = ""

    def pattern(self) -> re.Pattern[str] | None:
        """Match the names as whole words, with a surname before a verb."""
        if not self.names:
            return None
        one = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        verb = r"(?=,|['’]s\b|\s+(?:is|was|has|had|lives|works|grew|loves|likes|can|will|does|never|always)\b)"
        return re.compile(rf"(?<![\w@])(?:{one})(?:(?:\s+[A-Z][a-z]+){{1,2}}{verb})?(?![\w-])")


def find_pronoun(text: str, names: tuple[str, ...]) -> str:
    """Return the pronoun with which the text speaks of the character: the first she or he, else they, else it.

    A text that says "You are …" first and does not tell of somebody else speaks of it as you.
    """
    if re.match(r"\W*(?:you are|you're|you play|your name is|you were|you work|you live)\b", text, re.IGNORECASE):
        return "you"
    words = [word.lower() for word in re.findall(r"[A-Za-z]+", text)]
    for word in words:
        for pronoun in ("she", "he"):
            if word in PRONOUNS[pronoun]:
                return pronoun
    if re.search(r"(?:^|[.!?]\s+)They\b|\bthey/them\b", text) and not re.search(r"(?:^|[.!?]\s+)It\b", text):
        return "they"
    return "it" if re.search(r"(?:^|[.!?]\s+)(?:It|Its)\b", text) else ("they" if "their" in words and names else "")


def first_person(sentence: str, speaker: Speaker) -> str:
    """Return the sentence as the character would say it: "Vera loves her cats." gives "I love my cats."."""
    if (names := speaker.pattern()) is not None:
        sentence = names.sub(_self_or_name, sentence)
    return Sentence(_WITH_ANOTHER.sub(rf"\1 and {SELF}", sentence), speaker.pronoun).told()


def _self_or_name(name: re.Match[str]) -> str:
    before = name.string[max(0, name.start() - 16) : name.start()]
    return name[0] if NAMING.search(before) is not None else SELF

"""A card fitted to the form that the model was trained on: short facts in the first person, and little else.

It decides what of a card is taken and says in plain words what is not. It counts no tokens.
"""

import re
from dataclasses import dataclass, replace

from persona_chat.cards.card import Card
from persona_chat.cards.leftovers import is_adult, not_said, not_taken
from persona_chat.cards.markup import SELF, USER, clean, plain, untagged, written
from persona_chat.cards.own import own_persona
from persona_chat.cards.prose import is_english, shortened
from persona_chat.cards.sheet import read_sheet
from persona_chat.cards.telling import Told, tell
from persona_chat.cards.verbs import is_third, second
from persona_chat.cards.voice import Speaker, find_pronoun
from persona_chat.errors import CardRefused, InputError
from persona_chat.language import _
from persona_chat.persona import (
    FACTS_CHARACTERS,
    GREETING_CHARACTERS,
    NAME_CHARACTERS,
    Persona,
    make_persona,
)

FACTS_KEPT = 24
# `about` is for what makes no fact; the prompt is short.
ABOUT_KEPT = 600
# A field longer than this is not read to its end.
READ_CHARACTERS = 20_000

_TITLES_TEXT = "dr mr mrs ms miss sir lady lord captain king queen prince princess professor doctor"
_TITLES = frozenset(_TITLES_TEXT.split())
_ARTICLES = {"the", "a", "an"}
_SAID_GENDER = re.compile(
    r"\b(?:pronouns|gender|sex)\W{1,4}(?:(?P<she>she|female|woman|girl)|(?P<he>he|male|man|boy)|(?P<they>they|non-?binary)|(?P<it>it))\b",
    re.IGNORECASE,
)
_HELLO = re.compile(
    rf"\b(hello|hi|hey|hiya|welcome|greetings|good (?:morning|afternoon|evening|day)),?\s+{USER}", re.IGNORECASE
)
_ADDRESSED = re.compile(rf"[,、]\s*{USER}(?:さん|様|くん|ちゃん)?(?=\s*[!.?,~\"”*…。！]|$)", re.MULTILINE)


@dataclass(frozen=True)
class Fitted:
    """A card as a persona; `left_out` says in plain words what was not taken."""

    persona: Persona
    left_out: tuple[str, ...]

    @property
    def greeting(self) -> str:
        """What the persona says first, perhaps nothing."""
        return self.persona.greeting

    @property
    def age_restricted(self) -> bool:
        """Whether the card says that it is for adults."""
        return self.persona.age_restricted


def fit(card: Card, *, facts: int = FACTS_KEPT) -> Fitted:
    """Fit a card to a persona of at most `facts` facts.

    A card that this program wrote gives back what it was written from, unless its description was edited since.
    Raises CardRefused when it says nothing that a persona could be made of.
    """
    left_out = not_taken(card)
    if (persona := own_persona(card)) is not None:
        return Fitted(replace(persona, age_restricted=persona.age_restricted or is_adult(card)), tuple(left_out))
    name = _name(card)
    told = _told(card, name)
    greeting = _greeting(card, name)
    kept = _most_telling(told, facts)
    too_many = len(told.facts) - len(kept)
    about = shortened("\n".join(dict.fromkeys(told.about)), ABOUT_KEPT)
    if not kept and not about:
        if not greeting:
            text = _("The card says nothing about {name}. Write a description into it, and export it again.")
            raise CardRefused(text.format(name=name))
        kept = [f"My name is {name}."]
    left_out = not_said(told, too_many=too_many, about=about) + _cut_off(card, greeting) + left_out
    try:
        persona = make_persona(name, about, kept, greeting, age_restricted=is_adult(card))
    except InputError as error:
        raise CardRefused(str(error)) from None
    return Fitted(persona, tuple(left_out))


def _cut_off(card: Card, greeting: str) -> list[str]:
    fields = (
        (_("the end of the description, which is very long"), card.description),
        (_("the end of the personality, which is very long"), card.personality),
    )
    ends = [said for said, text in fields if len(text) > READ_CHARACTERS]
    return ends + ([_("the end of the greeting")] if greeting.endswith("…") and "…" not in card.first_mes[-3:] else [])


def _told(card: Card, name: str) -> Told:
    names = _names(card, name)
    description, personality = (plain(text[:READ_CHARACTERS]) for text in (card.description, card.personality))
    speaker = Speaker(names, _pronoun(f"{description}\n{personality}", names))
    told = Told()
    tell(read_sheet(description, names), speaker, name, told)
    tell(read_sheet(personality, names, section="personality"), speaker, name, told)
    if not told.facts and not told.about:
        # Some cards say everything by example.
        tell(read_sheet(plain(card.mes_example[:READ_CHARACTERS]), names), speaker, name, told)
    return told


def _pronoun(text: str, names: tuple[str, ...]) -> str:
    said = _SAID_GENDER.search(text)
    return said.lastgroup or "" if said is not None else find_pronoun(re.sub(rf"[{SELF}{USER}]", "", text), names)


def _most_telling(told: Told, most: int) -> list[str]:
    """The facts that are kept, in their order: looks are the first to go, then what comes last."""
    ranked = sorted(range(len(told.facts)), key=lambda place: (place in told.looks, place))[:most]
    kept, characters = [], 0
    for place in ranked:
        characters += len(told.facts[place]) + 1
        if characters <= FACTS_CHARACTERS:
            kept.append(place)
    return [told.facts[place] for place in sorted(kept)]


def _name(card: Card) -> str:
    name = untagged(written(plain(card.name[:READ_CHARACTERS]), "", ""))
    name = " ".join(name.replace("{", "").replace("}", "").split())
    if len(name) > NAME_CHARACTERS:
        name = name[:NAME_CHARACTERS].rsplit(" ", 1)[0]
    try:
        return make_persona(name, "x").name
    except InputError:
        raise CardRefused(_("The name in the card cannot be read. Give the character a name and export it.")) from None


def _names(card: Card, name: str) -> tuple[str, ...]:
    """The words that mean the character in its own description: its name, nickname and first name."""
    names = {name, " ".join(clean(card.nickname[:NAME_CHARACTERS]).split())}
    words = name.split()
    first = words[1] if len(words) > 1 and words[0].lower().strip(".") in _TITLES else words[0]
    if first[:1].isupper() and len(first) > 1 and first.isalpha() and first.lower() not in _TITLES | _ARTICLES:
        names.add(first)
    return tuple(sorted(name for name in names if name))


def _greeting(card: Card, name: str) -> str:
    text = _ADDRESSED.sub("", _HELLO.sub(r"\1", plain(card.first_mes[:READ_CHARACTERS])))
    text = _called_you(text) if is_english(text) else text.replace(USER, "User")
    text = untagged(written(text, name))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return shortened(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(), GREETING_CHARACTERS)


def _called_you(text: str) -> str:
    """The text with "you" for whom the character talks to, and its verbs with it."""
    text = re.sub(rf"{USER}['’]s (?=(?:a|an|the|not|always|never|so|too|very)\b)", f"{USER} is ", text)
    # "You must be you." says nothing.
    text = re.sub(
        rf"\b([Yy])ou must be {USER}", lambda match: "So it is you" if match[1] == "Y" else "so it is you", text
    )
    text = re.sub(rf"(^|[.!?][\"”*]?\s+|[\"“*]){USER}['’]s\b", r"\1Your", text, flags=re.MULTILINE)
    text = re.sub(rf"{USER}['’]s\b", "your", text)
    text = re.sub(
        rf"{USER} (\w+)", lambda match: f"{USER} {second(match[1]) if is_third(match[1]) else match[1]}", text
    )
    return re.sub(rf"(^|[.!?][\"”*]?\s+|[\"“*]){USER}", r"\1You", text, flags=re.MULTILINE)

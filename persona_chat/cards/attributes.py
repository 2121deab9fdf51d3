"""Attributes as sentences: `likes: cats, tea` gives "I like cats and tea.". It knows usual keys and their wording."""

import re

from persona_chat.cards.markup import SELF
from persona_chat.cards.sheet import Attribute
from persona_chat.cards.verbs import first, is_third

VALUES_IN_A_SENTENCE = 5

NAMES = {"name", "full name", "character", "char", "first name", "last name", "surname", "real name"}
# Keys whose values tell of the scene, of the model, or of nothing that can be said in a sentence.
SKIPPED = NAMES | {
    "genre", "tags", "tag", "scenario", "setting", "note", "notes", "rules", "instructions", "format", "world", "user",
    "warning", "pronouns", "creator", "credit", "credits", "version", "system", "summary", "nsfw", "tone", "example",
    "examples", "example dialogue", "rating", "model", "language style",
    "important", "conversation", "dialogue", "persona",
}  # fmt: skip
# What somebody looks like tells least of how they talk.
LOOKS = {
    "hair", "hair color", "hair colour", "eyes", "eye color", "eye colour", "skin", "body", "appearance", "features",
    "looks", "height", "weight", "clothes", "clothing", "outfit", "attire", "wears", "wearing", "build", "face",
}  # fmt: skip

_ADJECTIVES = {
    "personality",
    "mind",
    "traits",
    "personality traits",
    "character traits",
    "temperament",
    "nature",
    "trait",
}
_BEING = {"species", "race", "occupation", "job", "profession", "role", "work", "class", "archetype"}
_PLAIN = {"nationality", "ethnicity", "gender", "sex", "sexuality", "orientation", "sexual orientation", "religion"}
_CAPITALS = {
    "nationality",
    "ethnicity",
    "religion",
    "alias",
    "aliases",
    "nickname",
    "nicknames",
    "languages",
    "language",
}
_WORN = {"wears", "wearing", "clothes", "clothing", "outfit", "attire"}
_OPENINGS = {
    "likes": "I like", "like": "I like", "loves": "I love", "love": "I love", "dislikes": "I dislike",
    "dislike": "I dislike", "hates": "I hate", "hate": "I hate", "hobbies": "My hobbies are", "hobby": "My hobby is",
    "interests": "I am interested in", "interest": "I am interested in", "fears": "I am afraid of",
    "fear": "I am afraid of", "goal": "My goal is", "goals": "My goals are", "dream": "My dream is",
    "residence": "I live in", "home": "I live in", "location": "I live in", "lives": "I live in",
    "birthplace": "I come from", "origin": "I come from", "hometown": "I come from", "from": "I come from",
    "languages": "I speak", "language": "I speak", "alias": "People call me", "pet": "I have", "pets": "I have",
    "aliases": "People call me", "nickname": "People call me", "nicknames": "People call me", "weight": "I weigh",
    "skills": "I am good at", "abilities": "I am good at", "talents": "I am good at", "enjoys": "I enjoy",
    "appearance": "In looks I am", "looks": "In looks I am", "body": "In looks I am", "build": "In looks I am",
    "features": "My features are", "eyes": "I have", "hair": "I have", "skin": "I have",
}  # fmt: skip
_NO_ARTICLE = {"human", "retired", "unemployed", "self-employed", "undead", "immortal", "none", "unknown", "jobless"}
_UNKNOWN = {"unknown", "none", "n/a", "?", "???", "na", "-", "unspecified", "undefined"}
_PROPER_TEXT = """
    english italian japanese german french american british chinese korean spanish russian christmas halloween sunday
    monday friday saturday europe european african asian earth i
"""
_PROPER = frozenset(_PROPER_TEXT.split())


def sentences_of(attribute: Attribute) -> list[str]:
    """Return the attribute as sentences: of `I`, or of `SELF` where a value brings its own verb."""
    key = attribute.key
    values = [value for value in attribute.values if value.lower() not in _UNKNOWN]
    if key in SKIPPED or not values:
        return []
    common = LOOKS | _ADJECTIVES | _BEING | {"gender", "sex"}
    if key in common or (key not in _CAPITALS and all(value[:1].isupper() for value in values)):
        values = [_lowered(value) for value in values]
    if key in _ADJECTIVES:
        return _traits(values)
    verbal = [value for value in values if _opens_with_verb(value)]
    plain = [value for value in values if value not in verbal]
    told = [f"{SELF} {value}." for value in verbal]
    chunks = [plain[at : at + VALUES_IN_A_SENTENCE] for at in range(0, len(plain), VALUES_IN_A_SENTENCE)]
    return [_sentence(key, chunk) for chunk in chunks] + told


def listed(values: list[str]) -> str:
    """Join values: "a, b and c"."""
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"


def _sentence(key: str, values: list[str]) -> str:
    joined = listed(values)
    if key == "age" or key.endswith(" age"):
        return _age(values[0])
    if key == "height":
        return f"I am {joined}{'' if 'tall' in joined else ' tall'}."
    if key in _BEING:
        return f"I am {listed([_with_article(value) for value in values])}."
    if key in _PLAIN:
        return f"I am {joined}."
    for feature, plural in (("hair", "hair"), ("eye", "eyes"), ("skin", "skin")):
        if key in (feature, plural, f"{feature} color", f"{feature} colour", f"{plural} color"):
            return f"I have {', '.join(values)}{'' if feature in joined.lower() else f' {plural}'}."
    if key in _WORN:
        return f"I wear {listed([_with_article(value) for value in values])}."
    if key in _OPENINGS:
        return f"{_OPENINGS[key]} {joined}."
    words = key.split()
    if is_third(words[0]) and len(words) > 1:
        return f"I {first(words[0])} {' '.join(words[1:])} {joined}."
    noun = re.split(r" (?:with|of|to|for|in|from|about) ", key)[0]
    plural_key = noun.endswith("s") and not noun.endswith(("ss", "us", "is"))
    return f"My {key} {'are' if plural_key else 'is'} {joined}."


def _traits(values: list[str]) -> list[str]:
    """Adjectives together, and what a value says by a verb or a noun on its own."""
    told: list[str] = []
    adjectives: list[str] = []
    for value in values:
        value = re.sub(r"^(?:and|but|also)\s+", "", value)
        if _opens_with_verb(value):
            told.append(f"{SELF} {value}.")
        elif re.match(r"(?:a|an|the)\s", value):
            told.append(f"I am {value}.")
        elif re.search(r"\b(?:sense of|love of|love for|fear of)\b", value):
            told.append(f"I have {_with_article(value)}.")
        else:
            adjectives.extend(re.split(r"\s+and\s+", value) if len(value.split()) == 3 else [value])
    chunks = [adjectives[at : at + VALUES_IN_A_SENTENCE] for at in range(0, len(adjectives), VALUES_IN_A_SENTENCE)]
    return [f"I am {listed(chunk)}." for chunk in chunks] + told


def _age(value: str) -> str:
    number = re.match(r"(\d{1,6})(?: ?(?:years?(?:[ -]old)?|yo|y/o))?$", value, re.IGNORECASE)
    if number is not None:
        return f"I am {number[1]} years old."
    return f"I am {value}." if value.endswith("old") else f"My age is {value}."


def _with_article(value: str) -> str:
    if re.match(r"(?:a|an|the|my|her|his|their|in|at|one)\s", value, re.IGNORECASE) or value.lower() in _NO_ARTICLE:
        return value
    if value.endswith(("ed", "s")) and not value.endswith("ss"):
        return value
    return f"{'an' if value[:1].lower() in 'aeiou' else 'a'} {value}"


def _opens_with_verb(value: str) -> bool:
    words = re.sub(r"^(?:never|always|often|rarely|sometimes|only) ", "", value).split()
    return len(words) > 1 and is_third(words[0]) and words[1] not in ("and", "or")


def _lowered(value: str) -> str:
    """The value as it stands within a sentence: lists begin each value with a capital, names keep theirs."""
    word = value.split()[0]
    others = value.split()[1:]
    if not word[:1].isupper() or not word[1:].islower() or word.lower().strip("'s") in _PROPER:
        return value
    return value if any(other[:1].isupper() for other in others) else value[:1].lower() + value[1:]

"""Running text: where its sentences end, whether it is English, and which sentences are orders to a model."""

import re

from persona_chat.cards.markup import SELF, USER

_END = re.compile(
    rf"(?<=[.!?…])[\"'”’)\]*]*+\s+(?=[\"'“‘(\[*]?[A-Z0-9À-Þ{SELF}{USER}])|(?<=[。！？])(?![」』）。！？])|\n+"
)
# Behind these the sentence goes on: titles, and an initial.
_NO_END = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|approx|Mt|Lt|Sgt|Capt|e\.g|i\.e)\.$|(?:^|\s)[A-Z]\.$")

_ENGLISH_TEXT = """
    the a an is and of to her his she he with has i my are was you for on at who not but loves likes it they from by
    i'm your that as me
"""
_ENGLISH = frozenset(_ENGLISH_TEXT.split())
_OTHER_TEXT = """
    der die das und ist nicht ein eine einen einer mit sie er ich mein meine sein seine ihr ihre auf im zu von hat liebt
    le les et est une un il elle dans avec sur pour pas je son sa ses du des qui que el los las y una es con en por su
    no para como muy yo mi o e do da em um uma com não seu sua het een en van zijn haar di che non per i gli
"""
_OTHER = frozenset(_OTHER_TEXT.split()) - _ENGLISH

_ORDER = re.compile(
    rf"\b(?:role-?play(?:ing)?|(?:stay|break)(?:ing)? (?:in )?character|out of character|ooc|system (?:note|prompt)|"
    rf"(?:speak|act|write|talk|decide) (?:for|as) {USER}|control {USER}|language model|chatbot|nsfw|explicit content|"
    r"paragraphs|third[- ]person|first[- ]person|previous instructions|will (?:not|never) (?:speak|act|write|describe)|"
    r"(?:your|the|long|short|detailed|next|each|every) (?:response|reply|replies|responses|output|paragraph)s?)\b|"
    rf"{USER}(?:['’]s)? (?:actions|dialogue|thoughts|lines)\b",
    re.IGNORECASE,
)
_IMPERATIVE = re.compile(
    r"^\W*(?:do not|don't|avoid|write|describe|ensure|make sure|remember to|respond|reply|be sure|ignore)\b",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each without space around it."""
    found: list[str] = []
    for part in _parts(text):
        if found and (_NO_END.search(found[-1][-12:])):
            found[-1] += f" {part}"
        else:
            found.append(part)
    return [sentence for sentence in (" ".join(part.split()) for part in found) if sentence]


def is_english(text: str) -> bool:
    """Whether a text looks English; one without telling words does, if its letters are Latin."""
    letters = [character for character in text if character.isalpha() and character not in (SELF, USER)]
    if sum(character > "\u024f" for character in letters) * 3 > len(letters):
        return False
    words = [word.lower() for word in re.findall(r"[^\W\d_]+(?:'m)?", text)]
    return sum(word in _ENGLISH for word in words) >= sum(word in _OTHER for word in words)


def is_order(sentence: str) -> bool:
    """Whether a sentence tells a model how to write, rather than who somebody is."""
    return _ORDER.search(sentence) is not None or _IMPERATIVE.match(sentence) is not None


def shortened(text: str, at_most: int) -> str:
    """Return the first whole sentences of a text that fit, else its first words."""
    if len(text) <= at_most:
        return text
    ends = [match.start() for match in _END.finditer(text, 0, at_most + 1) if match.start() <= at_most]
    if ends and ends[-1] > at_most // 4:
        return text[: ends[-1]].rstrip()
    return text[: at_most - 1].rsplit(None, 1)[0].rstrip(" ,;:-")[: at_most - 1] + "…"


def _parts(text: str) -> list[str]:
    """Cut behind each end; quotation marks that close stay with their sentence."""
    parts, at = [], 0
    for match in _END.finditer(text):
        closing = len(match[0]) - len(match[0].lstrip("\"'”’)]*"))
        parts.append(text[at : match.start() + closing])
        at = match.end()
    return [*parts, text[at:]]

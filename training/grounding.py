"""Which replies speak of the persona: those that share two words that matter with one of its facts."""

import re

from persona_chat.persona import Persona
from training.measures import words

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")

# Words that any two sentences may share without being about the same thing.
_STOP = frozenset(
    re.findall(
        r"\w+",
        """
        a about after again all also always am an and any are as at back be because been before being but by can could
        d did do does doing don down even ever every for from get gets getting go goes going good got great had has
        have having he her here hers him his how i if in into is it its just know let like liked likes ll lot lots
        love loved loves m made make makes many maybe me more most much my myself never new nice no not now of off oh
        on one only or other our out over own people pretty re really right s say see she should so some something
        sometimes still such sure t take than thank thanks that the their them then there these they thing things
        think this those time times to too two up us use used very want wants was way we well were what when where
        which who why will with work would yeah yes you your yours
        """,
    )
)


def content_words(text: str) -> frozenset[str]:
    """Return the words that say what a text is about."""
    return frozenset(words(text)) - _STOP


def is_grounded(persona: Persona, reply: str) -> bool:
    """Whether the reply shares at least two content words with one fact, or one sentence of `about`."""
    said = content_words(reply)
    facts = (*persona.facts, *_SENTENCE_END.split(persona.about))
    return any(len(said & content_words(fact)) >= 2 for fact in facts)

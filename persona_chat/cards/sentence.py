"""A sentence about the character, word by word turned into what it says of itself. It knows one sentence at a time."""

import re

from persona_chat.cards.markup import SELF, USER
from persona_chat.cards.verbs import MODALS, first, is_third, may_be_noun, second

_TOKEN = re.compile(rf"[{SELF}{USER}](?:['’]s\b)?|\w+(?:['’\-]\w+)*['’]?|\s+|[^\w\s]")

PRONOUNS = {
    "she": ("she", "her", "hers", "herself"),
    "he": ("he", "him", "his", "himself"),
    "they": ("they", "them", "their", "theirs", "themself", "themselves"),
    "it": ("it", "its", "itself"),
    "you": ("you", "your", "yours", "yourself"),
}
_OBJECTS = {"him", "them"}
_OWN = {"his", "their", "its", "your"}
_MINE = {"hers", "theirs", "yours"}
_MYSELF = {"herself", "himself", "themself", "themselves", "itself", "yourself"}

_ADVERBS_TEXT = """
    always also already almost often never ever still just now once sometimes rarely seldom soon then even only
    really quite perhaps maybe both currently not besides afterwards nowadays usually generally too very
"""
_ADVERBS = frozenset(_ADVERBS_TEXT.split())
_CLAUSE_TEXT = """
    and but or so because when while if that as since though although until before after where what how why whom
    unless than whenever wherever whether which once yet
"""
_CLAUSE = frozenset(_CLAUSE_TEXT.split())
_SUBORDINATE_TEXT = """
    who which whose that because when while if as since though although until where unless
"""
_SUBORDINATE = frozenset(_SUBORDINATE_TEXT.split())
_PREPOSITIONS_TEXT = """
    to of with for from by at on in about around against behind beside between into like near over through toward
    towards under without upon off onto
"""
_PREPOSITIONS = frozenset(_PREPOSITIONS_TEXT.split())
# What cannot follow a possessive: after one of these, "her" is an object.
_NO_NOUN_TEXT = "a an the this these those his my your their its out up down away back too again who is was"
_NO_NOUN = _PREPOSITIONS | _CLAUSE | frozenset(_NO_NOUN_TEXT.split())
_LETS = {"make", "makes", "made", "let", "lets", "help", "helps", "helped"}
_ARTICLES = {"a", "an", "the"}
_DONE = {"been", "got", "had", "become", "lived", "worked"}
_THERE_IS = re.compile(r"(?:is|was|has been)\s+(?:raining|snowing|said|known|rumou?red|clear|true)")
# Where a name is only told, it stays: "Her name is Vera."
NAMING = re.compile(r"\b(?:is|are|was|am|i'm|you're|named|called|as|nicknamed|be)\s+[\"“'‘]?$", re.IGNORECASE)


class Sentence:
    """A sentence while its words are turned. `speaking` says whether the character is the subject just now."""

    def __init__(self, text: str, pronoun: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(text)
        self.places = [place for place, token in enumerate(self.tokens) if not token.isspace()]
        self.forms = PRONOUNS.get(pronoun, ())
        self.speaking = False

    def told(self) -> str:
        """Return the sentence with every word turned."""
        self._complete()
        for number in range(len(self.places)):
            self._turn(number)
        text = "".join(self.tokens).strip()
        return text[:1].upper() + text[1:]

    def _word(self, number: int | None) -> str:
        if number is None or not 0 <= number < len(self.places):
            return ""
        return self.tokens[self.places[number]].lower().replace("’", "'")

    def _put(self, number: int, text: str) -> None:
        place = self.places[number]
        self.tokens[place] = text[:1].upper() + text[1:] if self.tokens[place][:1].isupper() else text

    def _complete(self) -> None:
        """Give a fragment its subject: "Loves tea." and "A baker." say who only in their place."""
        opening, following = self._word(0), self._word(1)
        if is_third(opening) and following and not is_third(following):
            self.tokens[0] = f"I {first(opening)}"
            self.speaking = True
        elif opening in ("a", "an") and not any(map(self._states, range(len(self.places)))):
            self.tokens[0] = f"I am {opening}"

    def _states(self, number: int) -> bool:
        word = self._word(number)
        return is_third(word) or word in MODALS or word in ("have", "do") or word[:1] in (SELF, USER)

    def _turn(self, number: int) -> None:
        word = self._word(number)
        if word[:1] == SELF or word.partition("'")[0] in self.forms:
            self._turn_self(number, word)
        elif word[:1] == USER:
            self._turn_user(number, word)
        elif word in _SUBORDINATE:
            self.speaking = False
        elif self.speaking and word in ("and", "or", "but", "then", ","):
            self._turn_joined(number)

    def _turn_self(self, number: int, word: str) -> None:
        head, _, tail = word.partition("'")
        following = self._word(number + 1)
        if head == SELF and tail and following not in _ADVERBS | _DONE | _ARTICLES:
            self._put(number, "my")
        elif head == "her":
            self._put(number, "me" if self._is_object(number) else "my")
        elif head in _OWN:
            self._put(number, "my" if following[:1].isalnum() else "mine")
        elif head in _OBJECTS | _MINE | _MYSELF:
            self._put(number, "me" if head in _OBJECTS else "mine" if head in _MINE else "myself")
        elif head == "it" and not self._is_thing_speaking(number):
            return
        elif tail or head not in (SELF, "you") or self._is_subject(number):
            self._become_subject(number, tail)
        elif not self._is_name(number):
            self._put(number, "me")

    def _become_subject(self, number: int, tail: str) -> None:
        self.speaking = True
        place = self.places[number]
        verb = self._after(number)
        if tail:
            self.tokens[place] = (
                "I've"
                if tail == "s" and self._word(verb) in _DONE
                else {"s": "I'm", "re": "I'm"}.get(tail, f"I'{tail}")
            )
            return
        self.tokens[place] = "I"
        together = self._word(number - 1) == "and" and self._word(verb) in ("are", "were", "aren't", "weren't")
        if verb is not None and not together:
            self._put(verb, first(self._raw(verb)))

    def _raw(self, number: int) -> str:
        return self.tokens[self.places[number]]

    def _after(self, number: int) -> int | None:
        """Where the verb of a subject stands: behind adverbs, or behind what is put in between commas or brackets."""
        at = number + 1
        close = {",": ",", "(": ")", "—": "—", "–": "–"}.get(self._word(at))
        if close is not None:
            for end in range(at + 1, min(at + 16, len(self.places) - 1)):
                if self._word(end) == close:
                    verb = self._behind_adverbs(end + 1)
                    return verb if is_third(self._word(verb)) else None
            return None
        return self._behind_adverbs(at)

    def _behind_adverbs(self, at: int) -> int:
        while self._word(at) in _ADVERBS or (self._word(at).endswith("ly") and at < len(self.places)):
            at += 1
        return at if at < len(self.places) else at - 1

    def _turn_joined(self, number: int) -> None:
        """Turn a further verb of the same subject: "lives in Hull and loves tea"."""
        verb = self._behind_adverbs(number + 1)
        word, behind = self._word(verb), self._word(verb + 1)
        if verb <= number or not is_third(word) or self._word(number) == self._word(verb) == ",":
            return
        follows_verb = is_third(self._word(number - 1) + "s")
        if may_be_noun(word) and not follows_verb and (not behind[:1].isalnum() or behind in _CLAUSE):
            return
        self._put(verb, first(word))

    def _is_object(self, number: int) -> bool:
        before, behind = self._word(number - 1), self._word(number + 1)
        if not (behind[:1].isalnum() or behind[:1] in "\"“'") or behind in _NO_NOUN:
            return True
        if before.startswith("call"):
            return self._raw(number + 1)[:1].isupper()
        return before in _LETS and behind != "own" and is_third(behind + "s")

    def _is_thing_speaking(self, number: int) -> bool:
        rest = " ".join(self._word(at) for at in range(number + 1, number + 4))
        joined = self._word(number - 1) in ("and", "but") and self.speaking
        return (number == 0 or joined) and _THERE_IS.match(rest) is None

    def _is_subject(self, number: int) -> bool:
        before = self._word(number - 1)
        verb = self._word(self._after(number))
        if number == 0:
            return True
        if before in _PREPOSITIONS or self._is_name(number):
            return False
        if before in _CLAUSE or not before[-1:].isalnum():
            return True
        return is_third(verb) or verb in MODALS or verb in ("are", "were", "have", "do") or verb.endswith("ed")

    def _is_name(self, number: int) -> bool:
        """Whether the character is only called by its name here: "I am Vera"."""
        place = self.places[number]
        before = "".join(self.tokens[max(0, place - 3) : place])
        return self.tokens[place][:1] == SELF and NAMING.search(before) is not None

    def _turn_user(self, number: int, word: str) -> None:
        following = self._word(number + 1)
        if "'" in word and following not in _ADVERBS | _DONE | _ARTICLES:
            self._put(number, "your")
            return
        self._put(number, "you're" if "'" in word else "you")
        verb = self._behind_adverbs(number + 1)
        if self._word(number - 1) in _PREPOSITIONS:
            return
        if verb > number and (number == 0 or is_third(self._word(verb))):
            self._put(verb, second(self._raw(verb)))
            self.speaking = False

"""A description taken apart: attributes, what the character says, and prose. It knows how cards are written.

W++ (`Likes("cats" + "tea")`), PLists (`[Vera's likes: cats, tea]`), lines (`Likes: cats, tea` or `Likes = cats`),
headings with lists under them, and dialogue (`{{char}}: "I love tea."`).
"""

import re
from dataclasses import dataclass

from persona_chat.cards.markup import SELF, USER, untagged
from persona_chat.cards.verbs import is_third


@dataclass(frozen=True)
class Attribute:
    """A named list: `key` in lower case."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Prose:
    """Running text, perhaps of several sentences."""

    text: str


@dataclass(frozen=True)
class Speech:
    """What the character says, without what it does meanwhile."""

    text: str


Part = Attribute | Prose | Speech

# Between the values of W++, which may hold commas. Cleaned text has no such character.
_SEPARATOR = "\x1f"
_QUOTED = r'["“][^"“”\n]{0,1500}["”]'
_WPP = re.compile(rf"([A-Za-z][\w /'’&-]{{0,40}})\(\s*({_QUOTED}(?:\s*[+,/|]\s*{_QUOTED})*+)\s*\)")
_PLIST = re.compile(r"\[([^\[\]]{1,8000})\]")
_LIST_MARK = re.compile(r"^(?:[-*•·–►▪◆○●>+]|\d{1,3}[.)])\s+")
_TAG_LINE = re.compile(r"^<(/?)([A-Za-z][\w -]{0,40})>$")
_EMPHASIS = re.compile(r"\*+|`+|~~|__|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)|\|\|")
_RULE = re.compile(r"^[\W_]*$")
_PAIR = re.compile(r"^([^\W\d_][^:=\n\d.!?\"“]{0,38}?)[\"”]?\s*(?::|=)\s*(.*)$")
_COMMA = re.compile(r"(?:(?<!\s)\s+)?(?:[,;|、，；]|\s\+\s?|(?<=[\"”])\s*\+)\s*(?![^()]{0,200}\))")
_SUBJECTS = {"she", "he", "they", "it", "you", "i", "the", "a", "an", "when", "if", "there", "this", "and", "but", "in"}
_SAYING = re.compile(r"\b(?:I|I'm|my|me)\b")


def read_sheet(text: str, names: tuple[str, ...], section: str = "") -> list[Part]:
    """Take a text apart. Short lines without a key belong to the heading above them, at first to `section`."""
    reader = _Reader(names, section)
    for line in _lines(text):
        reader.read(line)
    return reader.parts


def spoken(text: str) -> str:
    """Return what is said in a line of dialogue: what stands in quotation marks, else what is no *action*."""
    quoted = re.findall(r"[\"“]([^\"“”]+)[\"”]", text)
    return " ".join(quoted) if quoted else re.sub(r"\*[^*]*\*|\*.*$", " ", text)


def _lines(text: str) -> list[str]:
    text = _WPP.sub(lambda match: f"\n{match[1]}: {_values_of_wpp(match[2])}\n", text)
    text = _PLIST.sub(_opened, text.replace("{", "\n").replace("}", "\n"))
    return [line.strip() for line in text.replace("[", "").replace("]", "").split("\n")]


def _values_of_wpp(quoted: str) -> str:
    return _SEPARATOR.join(re.findall(r"[\"“]([^\"“”\n]*)[\"”]", quoted)) + _SEPARATOR


def _opened(block: re.Match[str]) -> str:
    inside = block[1]
    return "\n" + inside.replace(";", "\n") + "\n" if re.search(r"[:=]", inside) else inside


class _Reader:
    """Reads line after line; `section` is the heading that short lines belong to."""

    def __init__(self, names: tuple[str, ...], section: str) -> None:
        self.parts: list[Part] = []
        self.section = section
        self.whose = re.compile(
            rf"^(?:{'|'.join(re.escape(name) for name in (SELF, *names))})(?:['’]s?)?\s+(?=\S)", re.IGNORECASE
        )
        self.selves = {SELF, *(name.casefold() for name in names)}

    def read(self, line: str) -> None:
        """Add what one line holds."""
        if (tag := _TAG_LINE.match(line)) is not None:
            self.section = "" if tag[1] else tag[2].lower().replace("_", " ")
            return
        line = untagged(line)
        if self._read_dialogue(line):
            return
        marked = _LIST_MARK.sub("", line)
        heading = re.match(r"#{1,6}\s*(.*)", marked)
        line = _EMPHASIS.sub("", heading[1] if heading else marked).strip(" \t,")
        if _RULE.match(line):
            return
        pair = _PAIR.match(line)
        key = self._key(pair[1]) if pair is not None else ""
        if heading is not None and not (key and pair is not None and pair[2]):
            self.section = self._key(line.rstrip(":")) or ""
        elif pair is not None and key:
            self._read_pair(key, pair[2])
        elif self.section and not _is_prose(line):
            self.parts.append(Attribute(self.section, split_values(line)))
        else:
            self._read_prose(line)

    def _read_dialogue(self, line: str) -> bool:
        who, colon, said = line.partition(":")
        who = _EMPHASIS.sub("", who).strip().casefold()
        if not colon or who not in self.selves | {USER, "interviewer", "user"}:
            return False
        if who in self.selves:
            if not (re.search(r"[\"“*]", said) or _SAYING.search(said)):
                return False
            self.parts.append(Speech(" ".join(spoken(said).split())))
        return True

    def _key(self, text: str) -> str:
        """The key in lower case and without whose it is, or nothing where the words are no key."""
        text = _EMPHASIS.sub("", text).strip(" \"“”'()")
        words = self.whose.sub("", text).casefold().split()
        if " ".join(words) in self.selves:
            return "personality"
        if not 0 < len(words) <= 4 or (len(words) > 1 and words[0] in _SUBJECTS) or SELF in words:
            return ""
        return "" if any(is_third(word) for word in words[1:]) else " ".join(words).replace("_", " ")

    def _read_pair(self, key: str, value: str) -> None:
        if not value.strip():
            self.section = key
        elif _SEPARATOR not in value and _is_prose(value):
            self._read_prose(value)
        elif values := split_values(value):
            self.parts.append(Attribute(key, values))

    def _read_prose(self, line: str) -> None:
        before = self.parts[-1] if self.parts else None
        if isinstance(before, Prose) and line[:1].islower() and before.text[-1:] not in ".!?":
            self.parts[-1] = Prose(f"{before.text} {line}")
        else:
            self.parts.append(Prose(line))


def split_values(text: str) -> tuple[str, ...]:
    """Split a list of values at its commas, or as W++ wrote it."""
    parts = text.split(_SEPARATOR) if _SEPARATOR in text else _COMMA.split(text)
    stripped = (part.strip(" \t\"“”'.,;+").strip() for part in parts)
    return tuple(" ".join(part.split()) for part in stripped if part)


def _is_prose(text: str) -> bool:
    """Whether a text is made of sentences."""
    text = text.rstrip()
    if text.endswith(("。", "！", "？")) or re.search(r"[.!?。！？][\"”)]?\s+\S", text):
        return True
    words = re.findall(rf"[{SELF}{USER}]|[\w'’]+", text.lower())
    subject = {"she", "he", "they", "it", "i", "i'm", "you", SELF} & set(words[:2])
    told = subject or (len(words) > 5 and {"is", "has", "was", "who"} & set(words))
    return bool(told) and (len(words) > 3 or text.endswith((".", "!", "?")))

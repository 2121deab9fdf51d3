"""What stands in a card's text without being said: macros, tags, mentions, links. It knows no grammar.

After `plain`, `SELF` stands for the character and `USER` for whom it talks to, wherever a macro named them.
"""

import re
import unicodedata

from persona_chat.heard import encodable

SELF = "\ue000"
USER = "\ue001"
# Where a link or a mention stood: the sentence around it is no longer whole.
GONE = "\ue002"

# Control and private-use characters, those that turn the reading direction, and those that nobody sees. The joiners of
# emoji and of Persian stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffc\ue000-\uf8ff\U000e0000-\U0010ffff]"
)
_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")

_MACRO = re.compile(r"\{\{([^{}]{0,2000})\}\}")
_SELF_NAMES = {"char", "bot", "charifnotgroup", "group"}
_ANGLED = re.compile(r"<(bot|char|user)>", re.IGNORECASE)
_ONE_OF = re.compile(r"(?:random|pick)\s*(::?)\s*(.*)", re.IGNORECASE | re.DOTALL)

_LINK = re.compile(r"!?\[([^\[\]\n]{0,200})\]\(\s*(?:https?|ftp|data|www)[^()\s]*\s*\)", re.IGNORECASE)
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.|\bdiscord\.gg/|\bdata:\w+/)[^\s<>\"')\]]*", re.IGNORECASE)
_MENTION = re.compile(r"<(?:@[!&]?|#)\d+>|<a?:\w{1,40}:\d+>|<t:-?\d+(?::\w)?>|@(?:everyone|here)\b", re.IGNORECASE)
_CONTROL = re.compile(
    r"<\|[^|<>\n]{0,60}\|>|<\uff5c[^<>\n]{0,60}\uff5c>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_\w+>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)\w*[ \t]*$|```", re.MULTILINE)
_COMMENT = re.compile(r"<!--.{0,1000}?-->", re.DOTALL)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
# Words with which the prompt's form names who speaks, and that end a reply.
_SPEAKER = re.compile(r"\bPersona [AB]\s*:|^[ \t]*Reference:", re.MULTILINE)


def clean(text: str) -> str:
    """Return the text with its line ends as newlines and without characters that nobody sees."""
    text = unicodedata.normalize("NFC", encodable(text))
    return _UNSEEN.sub("", _LINE_ENDS.sub("\n", text)).replace("\t", " ")


def plain(text: str) -> str:
    """Return a card's text without markup and with its macros resolved; headings and lists stay."""
    text = _macros(clean(text))
    for pattern in (_COMMENT, _CONTROL, _FENCE):
        text = pattern.sub("", text)
    for pattern in (_MENTION, _URL):
        text = pattern.sub(GONE, _LINK.sub(r"\1", text))
    return _SPEAKER.sub("", text)


def untagged(text: str) -> str:
    """Return the text without HTML tags."""
    return _TAG.sub("", text)


def written(text: str, name: str, user: str = "you") -> str:
    """Return the text with words for whom the macros named, and nothing for what is gone."""
    return text.replace(SELF, name).replace(USER, user).replace(GONE, "")


def _macros(text: str) -> str:
    text = _ANGLED.sub(lambda match: USER if match[1].lower() == "user" else SELF, text)
    # From the innermost: {{random:{{char}},me}}.
    for _ in range(3):
        text, found = _MACRO.subn(_resolved, text)
        if not found:
            break
    return text


def _resolved(match: re.Match[str]) -> str:
    inside = match[1].strip()
    word = inside.lower()
    if word in _SELF_NAMES:
        return SELF
    if word == "user":
        return USER
    if word == "newline":
        return "\n"
    if (choice := _ONE_OF.match(inside)) is not None:
        parts = choice[2].split("::" if choice[1] == "::" else ",")
        return parts[0].strip()
    return ""

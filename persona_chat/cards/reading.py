"""Reading a card from the bytes of a file. It knows sizes and JSON, and nothing of what a card says.

The file is a stranger's: everything that could take long or much is measured before it is parsed.
"""

import base64
import binascii
import json
import re

from persona_chat.cards.card import Card, make_card
from persona_chat.cards.png import SIGNATURE, card_text
from persona_chat.errors import CardRefused
from persona_chat.language import N_, _, grouped

FILE_BYTES = 8_000_000
JSON_BYTES = 1_000_000
JSON_DEPTH = 32

# A parsed value takes up to 100 times its bytes (`[[[]]]`). These hold for cards with a thousand lorebook entries.
_QUOTES = 100_000
_BRACKETS = 100_000

# An unclosed string reaches to the end: otherwise each escaped quote in it would be tried anew.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))

_OTHER_FILES = (
    (b"\xff\xd8\xff", N_("a JPEG picture, which carries no card")),
    (b"RIFF", N_("a WebP picture, which carries no card")),
    (b"GIF8", N_("a GIF picture, which carries no card")),
    (b"PK\x03\x04", N_("an archive (CHARX or ZIP)")),
)


def read_card(data: bytes) -> Card:
    """Read a card: JSON of V1, V2 or V3, or a PNG that carries one (`ccv3` before `chara`).

    Raises CardRefused, within 50 ms and 50 MB, that says what is wrong and what to do.
    """
    if len(data) > FILE_BYTES:
        text = _("The file has {has} MB; {allowed} MB are allowed.")
        raise CardRefused(text.format(has=grouped(len(data) / 1e6, 1), allowed=FILE_BYTES // 1_000_000))
    if data.startswith(SIGNATURE):
        # Base64 is a third longer; line breaks are allowed in it.
        return _read_json(_unpacked(card_text(data, at_most=JSON_BYTES * 3 // 2)))
    for start, what in _OTHER_FILES:
        if data.startswith(start):
            text = _("This is {what}. Take the original PNG, or export the character as PNG or JSON.")
            raise CardRefused(text.format(what=_(what)))
    return _read_json(data)


def _unpacked(text: bytes) -> bytes:
    """The JSON in a PNG's text: base64, and as it is with some editors."""
    text = text.strip()
    if text.startswith(b"{"):
        return text
    packed = b"".join(text.split())
    try:
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise CardRefused(_("The card in this picture is damaged (not base64). Export the character again.")) from None


def _read_json(data: bytes) -> Card:
    if len(data) > JSON_BYTES:
        raise CardRefused(
            _("The card's text has {has} MB; {allowed} MB is allowed. Export it without its lorebook.").format(
                has=grouped(len(data) / 1e6, 1), allowed=JSON_BYTES // 1_000_000
            )
        )
    _check_structure(data)
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CardRefused(_("The card is not UTF-8 text. Save it as UTF-8, or export it again.")) from None
    except json.JSONDecodeError as error:
        words = _("This is not a card: no PNG, and no JSON (line {line}). Export it again.")
        raise CardRefused(words.format(line=error.lineno)) from None
    except ValueError:
        raise CardRefused(_("There is a number in it with thousands of digits. Export the card again.")) from None
    return make_card(document)


def _check_structure(data: bytes) -> None:
    """Refuse what is nested too deep or has too many parts, before the parser makes objects of it."""
    if data.count(b'"') > _QUOTES or data.count(b"[") + data.count(b"{") > _BRACKETS:
        raise CardRefused(_("The card has far too many parts. Export it without its lorebook and extensions."))
    depth = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > JSON_DEPTH:
            text = _("The card is nested more than {depth} deep. Export it without its extensions.")
            raise CardRefused(text.format(depth=JSON_DEPTH))

"""The text that a PNG carries. It knows PNG's chunks, and nothing of pictures or cards.

Pillow gives a PNG's texts only after it has decoded the picture, since SillyTavern writes them behind it, and a few
KB of picture may decode to 300 MB. So the chunks are walked here and the picture is never decoded.
The format: https://www.w3.org/TR/png-3/#5DataRep and #11textinfo.
"""

import zlib
from collections.abc import Iterator

from persona_chat.errors import CardRefused
from persona_chat.language import _

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORDS = ("ccv3", "chara")

# Encoders that write 4 KB at a time need 2,000 chunks for 8 MB.
_CHUNKS = 10_000


def card_text(data: bytes, *, at_most: int) -> bytes:
    """Return the text of the first `ccv3` chunk, else of the first `chara` chunk.

    Raises CardRefused when there is none, when it is damaged, or when it has more than `at_most` bytes.
    """
    found: dict[str, tuple[bytes, int, int]] = {}
    for kind, start, end in _chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        keyword = data[start : min(end, start + 80)].partition(b"\0")[0].decode("latin-1").lower()
        if keyword in KEYWORDS:
            found.setdefault(keyword, (kind, start, end))
    for keyword in KEYWORDS:
        if keyword in found:
            return _text(data, *found[keyword], at_most)
    raise CardRefused(
        _(
            "This picture carries no card; sites that convert pictures drop it. "
            "Take the original PNG, or the card as JSON."
        )
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's type and where its data starts and ends; stop at the end or where the file is cut off."""
    at = len(SIGNATURE)
    for _number in range(_CHUNKS):
        start = at + 8
        end = start + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : start]
        if kind == b"IEND" or end + 4 > len(data):
            return
        yield kind, start, end
        at = end + 4
    raise CardRefused(_("This PNG is made of far too many pieces. Save the picture again, with its card."))


def _text(data: bytes, kind: bytes, start: int, end: int, at_most: int) -> bytes:
    if end - start > at_most + 200:
        raise CardRefused(_("The card in this picture is too long. Export it without its lorebook."))
    if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
        raise CardRefused(_("The card in this picture is damaged. Download or export it again."))
    content = data[start:end].partition(b"\0")[2]
    if kind == b"tEXt":
        return content
    if kind == b"zTXt":
        return _inflated(content[1:], at_most)
    packed, text = content[:1] == b"\1", content[2:].split(b"\0", 2)[-1]
    return _inflated(text, at_most) if packed else text


def _inflated(packed: bytes, at_most: int) -> bytes:
    """Unpack, never to more than one byte over what is allowed: 1 KB may hold 1 MB."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, at_most + 1)
    except zlib.error:
        raise CardRefused(_("The card in this picture is damaged. Download or export it again.")) from None
    if len(text) > at_most:
        raise CardRefused(_("The card in this picture is too long. Export it without its lorebook."))
    return text

"""Files of character cards for the tests: our own ones, as PNG, and damaged in a thousand ways."""

import base64
import json
import random
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "cards"
FILES = sorted(FOLDER.glob("*.json"))

_ODD: list[Any] = [
    None, True, 0, -1.5, "", "x" * 5000,
    [], {}, [1], [None], {"a": 1}, "\ud800", "\u202e\u0000", "{{char}}", "{{{{char}}",
    float("nan"), float("inf"), [[[[]]]],
    "Persona A: hi", "[", "a(\"b\" + \"c\")", "= : = :", "{{user}}'s" * 50, "((((" * 99,
]  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(texts: Mapping[str, bytes], *, width: int = 1, height: int = 1, extra: bytes = b"") -> bytes:
    """A PNG of one pixel, with the texts behind the picture as SillyTavern writes them."""
    pixel = zlib.compress(b"\0\0\0\0")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", pixel)
        + b"".join(chunk(b"tEXt", keyword.encode() + b"\0" + text) for keyword, text in texts.items())
        + extra
        + chunk(b"IEND", b"")
    )


def card_png(card: bytes, keyword: str = "chara") -> bytes:
    return png({keyword: base64.b64encode(card)})


def packed_png(megabytes: int, *, international: bool = False) -> bytes:
    """A PNG whose packed text is as many MB of zeros."""
    packing = zlib.compressobj(9)
    packed = b"".join(packing.compress(b"\0" * 1_000_000) for _ in range(megabytes)) + packing.flush()
    if international:
        return png({}, extra=chunk(b"iTXt", b"chara\0\1\0\0\0" + packed))
    return png({}, extra=chunk(b"zTXt", b"chara\0\0" + packed))


def damaged(number: int, seed: int = 20) -> Iterator[bytes]:
    """Yield damaged cards, always the same ones: bytes, structure, and chunks of PNGs."""
    rng = random.Random(seed)
    cards = [path.read_bytes() for path in FILES if path.stat().st_size < 100_000]
    for at in range(number):
        card = rng.choice(cards)
        way = (_bytes, _structure, _chunks)[at % 3]
        yield way(card, rng)


def _bytes(card: bytes, rng: random.Random) -> bytes:
    data = bytearray(card)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        change = rng.randrange(4)
        if change == 0:
            data[at] = rng.randrange(256) if rng.random() < 0.2 else rng.randrange(32, 127)
        elif change == 1:
            del data[at : at + rng.randint(1, 40)]
        elif change == 2:
            data[at:at] = data[at : at + rng.randint(1, 200)]
        else:
            data[at:at] = rng.choice([b"{", b"}", b"[", b"]", b'"', b"\\", b"\0", b"\xff", b"\\ud800", b"{{", b"1e999"])
        if not data:
            return b""
    return bytes(data)


def _structure(card: bytes, rng: random.Random) -> bytes:
    document = json.loads(card)
    for _ in range(rng.randint(1, 4)):
        fields = document.get("data") if rng.random() < 0.8 else None
        target = fields if isinstance(fields, dict) and fields else document
        if not target:
            break
        field = rng.choice(list(target))
        change = rng.choice([0, 1, 2, 2, 2, 3])
        if change == 0:
            del target[field]
        elif change == 1:
            target[field] = rng.choice(_ODD)
        elif change == 2 and isinstance(target[field], str):
            letters = list(target[field]) or [""]
            rng.shuffle(letters)
            target[field] = "".join(letters) * rng.randint(1, 3)
        else:
            target[field] = [target[field], rng.choice(_ODD)]
    return json.dumps(document).encode()


def _chunks(card: bytes, rng: random.Random) -> bytes:
    data = bytearray(card_png(card if rng.random() < 0.7 else _structure(card, rng), rng.choice(["chara", "ccv3"])))
    change = rng.randrange(7)
    if change == 0:
        del data[rng.randrange(len(data)) :]
    elif change == 1:
        at = rng.randrange(8, len(data) - 4)
        data[at : at + 4] = rng.randbytes(4)
    elif change == 2:
        at = data.index(b"tEXt")
        data[at : at + 4] = rng.choice([b"zTXt", b"iTXt", b"tExt"])
    elif change == 3:
        packed = rng.choice([zlib.compress(card), b"", card, rng.randbytes(50)])
        return png({}, extra=chunk(rng.choice([b"zTXt", b"iTXt"]), b"ccv3\0" + b"\0" * rng.randint(0, 4) + packed))
    elif change == 4:
        at = data.index(b"tEXt") - 4
        data[at:at] = chunk(rng.choice([b"tEXt", b"eXIf", b"gAMA"]), rng.randbytes(rng.randint(0, 90)))
    elif change == 5:
        data[rng.randrange(8, 60)] = rng.randrange(256)
    else:
        at = data.index(b"tEXt") - 4
        data[at : at + 4] = struct.pack(">I", rng.choice([0, 1, 5, 2**31, 2**32 - 1]))
    return bytes(data)

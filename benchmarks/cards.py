"""How long a refused character card takes, and how much memory.

    python -m benchmarks.cards [--times 3]

Reads the thousand damaged cards of the tests, and files made by hand to take as much as they can. Prints for each kind
how many were read and refused, the slowest refusal, and the largest peak that tracemalloc saw. The specification asks
for at most 50 ms and 50 MB.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Iterator

from persona_chat.cards import JSON_BYTES, fit, read_card
from persona_chat.errors import CardRefused
from tests.card_files import damaged, packed_png, png

MS, MB = 1e3, 1e6


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yield files that are small to send and large to open."""
    full = JSON_BYTES
    yield "8 MB of [", b"[" * 8_000_000
    yield "1 MB of [", b"[" * full
    yield "nested lists", b"[" * 90_000
    yield "nested within the limit", b"[" + b",".join([b"[" * 30 + b"]" * 30] * 1600) + b"]"
    yield "31 deep and broken", b"[" * 31 + b"{" * 90_000
    yield "a million keys", b"{" + b",".join(b'"%x":1' % number for number in range(1_000_000)) + b"}"
    yield "a million keys, cut", (b"{" + b",".join(b'"%x":1' % number for number in range(1_000_000)))[:full]
    yield "99,000 keys", b"{" + b",".join(b'"%x":1' % number for number in range(99_000)) + b"}"
    yield "as many texts as allowed", b"[" + b",".join([b'"ab"'] * 49_900) + b"]"
    yield "empty objects", b"[" + b",".join([b"{}"] * 99_000) + b"]"
    yield "wrong greetings", b'{"name":"x","alternate_greetings":[' + b"1," * 400_000 + b"1]}"
    yield "wrong assets", b'{"name":"x","assets":[' + b"1," * 400_000 + b"1]}"
    yield "numbers", b"[" + b"1.5," * 240_000 + b"1]"
    yield "long numbers", b"[" + b",".join([b"9" * 4300] * 230) + b"]"
    yield "a number too long", b"[" + b"9" * 900_000 + b"]"
    yield "escaped quotes, unclosed", b'"' + b'\\"' * 99_000
    yield "one string, unclosed", b'{"name": "' + b"a" * (full - 20)
    yield "backslashes", b'"' + b"\\" * (full - 2)
    yield "wide characters, broken", ('"' + "\U0001f600" * (full // 4 - 10)).encode()
    yield "zTXt of 500 MB", packed_png(500)
    yield "iTXt of 500 MB", packed_png(500, international=True)
    yield "tEXt of 7 MB", png({"chara": b"A" * 7_000_000})
    yield "tEXt, not base64", png({"chara": b"!" * 1_400_000})
    yield "base64 of [", png({"chara": b"W1tb" * 330_000})
    yield "600,000 chunks", png({}, extra=b"\0\0\0\0tEXt\0\0\0\0" * 600_000)
    yield "huge picture without a card", png({}, width=2**31 - 1, height=2**31 - 1)
    yield "8 MB of a picture", png({}, extra=b"\x00\x7a\x12\x00IDAT" + b"\0" * 7_900_000)


TOUGH_TEXTS = (
    "(", "[a", "{{", "{{a}}", 'a("b" + ', "<!--", "Mr. ", "A. ", "{{char}} ", "her ", "very ", "x: y\n", "I am. ", "*",
    '"', "<a ", "a, ", "Vera and her ", "Vera's ", "- a\n", "[a: b; c]", "http://", "<@", "she is {{user}}'s, and ",
)  # fmt: skip


def tough() -> Iterator[tuple[str, bytes]]:
    """Yield cards whose text takes long to read if it is read badly."""
    for text in TOUGH_TEXTS:
        long = text * (JSON_BYTES // 8 // len(text))
        card = {"name": "Vera", "description": long, "personality": long, "first_mes": long}
        yield repr(text), json.dumps(card).encode()


def measure(data: bytes, times: int) -> tuple[bool, float, float]:
    """Return whether it was refused, the fastest of some times in seconds, and the peak in bytes."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        refused = _refused(data)
        spent.append(time.perf_counter() - began)
    tracemalloc.start()
    _refused(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return refused, min(spent), peak


def _refused(data: bytes) -> bool:
    try:
        fit(read_card(data))
    except CardRefused:
        return True
    return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    _refused(b"{}")
    measured = [measure(data, options.times) for data in damaged(1000)]
    refused = [one for one in measured if one[0]]
    read = [one for one in measured if not one[0]]
    for what, ones in (("refused", refused), ("read and fitted", read)):
        slowest, largest = max(one[1] for one in ones), max(one[2] for one in ones)
        print(f"{len(ones):5} damaged cards {what}: at most {slowest * MS:.1f} ms and {largest / MB:.1f} MB")
    ones = {name: measure(data, 1) for name, data in tough()}
    name = max(ones, key=lambda name: ones[name][1])
    peak = max(one[2] for one in ones.values())
    print(f"{len(ones):5} tough texts: at most {ones[name][1] * MS:.1f} ms ({name}) and {peak / MB:.1f} MB")
    worst = [0.0, 0.0]
    for name, data in bombs():
        is_refused, seconds, peak = measure(data, options.times)
        print(f"{name:30} {'refused' if is_refused else 'READ   '} {seconds * MS:7.1f} ms {peak / MB:7.1f} MB")
        worst = [max(worst[0], seconds), max(worst[1], peak)]
    print(json.dumps({"worst_ms": round(worst[0] * MS, 1), "worst_mb": round(worst[1] / MB, 1)}))


if __name__ == "__main__":
    main()

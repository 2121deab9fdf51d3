"""Which texts a filter of words stops: pure, and with what people try to get past it."""

import pytest

from persona_chat.errors import InputError
from persona_chat.word_filter import (
    WORD_CHARACTERS,
    WORDS,
    Filtering,
    Listed,
    Side,
    WordFilter,
    built_in_list,
    side_of,
    typed_words,
    word_list,
)

ZALGO = "".join(letter + "\u0316\u0321\u0301\u0489" * 20 for letter in "grape")


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("I like grape jam", True),
        ("GRAPE!", True),
        ("grape", True),
        ("(grape)", True),
        ("grape's", True),
        ("grapes", False),
        ("grapefruit", False),
        ("a vine of gra pe", False),
        ("g\u200br\u200ca\u200dp\u2060e", True),  # characters that cannot be seen
        ("gra\u00adpe", True),  # a soft hyphen
        ("gr\u3164ape", True),  # a filler that counts as a letter
        ("gra\u202epe", True),  # a turn of direction
        ("gra\x00pe", True),
        ("gra\U000e0070pe\ufe0f", True),  # a tag, a variation selector
        ("ｇｒａｐｅ", True),
        ("ＧＲＡＰＥ", True),
        ("𝓰𝓻𝓪𝓹𝓮 𝕘𝕣𝕒𝕡𝕖", True),
        ("ⓖⓡⓐⓟⓔ", True),
        ("gräpé", True),
        ("gra\u0301pe\u0301", True),
        (ZALGO, True),
        ("gr**a**pe", True),  # as Discord shows it
        ("g||ra||pe", True),
        ("**grape**", True),
        ("_grape_jam_", True),
        ("red_grape", True),
        ("sour plum pudding", True),
        ("sour\n\tPLUM\u200b!", True),
        ("sour, plum", True),
        ("sour green plum", False),
        ("plum", False),
        ("STRASSE", True),
        ("straße", True),
        ("", False),
        ("…!?", False),
    ],
)
def test_words_are_compared_whole_and_as_they_look(text: str, has: bool) -> None:
    assert word_list(["Grape", "sour plum", "Straße"]).has(text) == has


def test_a_list_is_normalised_as_texts_are() -> None:
    assert word_list(["Ｇ\u200bräpe"]).has("grape")
    assert not word_list(["…", ""]).has("… anything"), "what holds no letter is never found"


def test_what_is_read_and_which_list_it_was() -> None:
    own, built_in = word_list(["plum"]), word_list(["grape"])
    both = WordFilter(Filtering(Side.BOTH), built_in, own)
    assert both.stops_input("a grape") is Listed.BUILT_IN
    assert both.stops_output("fine", "a plum") is Listed.OWN
    assert both.stops_input("a pear") is both.stops_output("a pear") is None
    assert WordFilter(Filtering(Side.OFF), built_in, own).stops_input("a plum grape") is None
    assert WordFilter(Filtering(Side.INPUT), built_in, own).stops_output("a plum") is None
    assert WordFilter(Filtering(Side.OUTPUT), built_in, own).stops_input("a plum") is None
    alone = WordFilter(Filtering(Side.BOTH, built_in=False), built_in, own)
    assert alone.stops_input("a grape") is None
    assert alone.stops_input("a plum") is Listed.OWN


@pytest.mark.parametrize("side", Side)
def test_a_side_is_what_it_reads(side: Side) -> None:
    filtering = Filtering(side)
    assert side_of(reads_input=filtering.reads_input, reads_output=filtering.reads_output) is side


def test_the_built_in_list_is_short_and_stops_no_ordinary_talk() -> None:
    there = built_in_list()
    assert 20 < len(there.entries) < 200
    assert there.has("What the FUCK?")
    assert there.has("kill   yourself.")
    for text in (
        "Scunthorpe, Dickens and a cockatoo met in Essex; the class will assess the grapes.",
        "I could kill for a coffee.",
        "# the comments in the file are no words: The word filter's own list",
        "",
    ):
        assert not there.has(text), text


def test_typed_words() -> None:
    assert typed_words("  Plum \n\nsour   plum\nPlum\r\n") == ("Plum", "sour plum")
    assert typed_words("\n \n") == ()
    assert typed_words("bad\ud800word") == ("bad?word",), "what no database can hold"
    assert len(typed_words("\n".join(f"word {number}" for number in range(WORDS)))) == WORDS
    for text, says in (
        ("\n".join(f"word {number}" for number in range(WORDS + 1)), "200 are allowed"),
        ("a" * (WORD_CHARACTERS + 1), "longer than 60"),
        ("fine\n***", "neither a letter nor a digit"),
    ):
        with pytest.raises(InputError, match=says):
            typed_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000,
        "a " * 5_000,
        "\ufdfa" * 10_000,  # eighteen characters each, once normalised
        "a" + "\u0301\u0316" * 5_000,  # marks whose sorting takes time as the square of their number
        "\u0301\u0316" * 5_000,
        "**" * 5_000,
        "a\u200b" * 5_000,
        "(a+)+$" * 1_600,
    ],
)
def test_no_text_makes_it_slow(text: str) -> None:
    """Each character is read once, and each word looked for once: there is no pattern that could go back."""
    words = word_list([f"{'a ' * 29}b{number}" for number in range(WORDS)])
    assert not words.has(text)

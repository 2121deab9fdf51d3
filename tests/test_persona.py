"""What makes a persona, and what is refused."""

import pytest

from persona_chat.errors import InputError
from persona_chat.heard import legible
from persona_chat.persona import Persona, make_persona, split_facts


def test_what_is_typed_is_trimmed() -> None:
    typed = make_persona("  Vera \n of  the sea", " I sail.  \n\nI sing.\n", [" I have\ntwo dogs. ", " "])
    assert typed == Persona("Vera of the sea", "I sail.\n\nI sing.", ("I have two dogs.",))


def test_a_name_may_be_an_emoji() -> None:
    assert make_persona("🦜", "I am a parrot.").name == "🦜"


@pytest.mark.parametrize("name", ["", "   ", "\u200b\u200d", "\u202e"])
def test_a_name_that_nobody_can_see_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="a name that can be read"):
        make_persona(name, "x")


@pytest.mark.parametrize(
    ("name", "about", "facts", "says"),
    [
        ("x" * 81, "a", [], "name has 81 characters; 80"),
        ("x", "", [], "Say something about the persona"),
        ("x", "\n ", ["", " "], "Say something about the persona"),
        ("x", "a" * 4001, [], "4,001 characters; 4,000"),
        ("x", "", [f"fact {number}" for number in range(10_000)], "10,000 facts; 50"),
        ("x", "", ["ok", "f" * 401], "Fact 2 has 401 characters; 400"),
    ],
)
def test_what_is_too_much_or_nothing_is_refused_with_the_count(
    name: str, about: str, facts: list[str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        make_persona(name, about, facts)


@pytest.mark.parametrize(
    ("typed", "facts"),
    [
        ("", ()),
        ("I sail.\n\n- I sing.\n2) I cook.", ("I sail.", "I sing.", "I cook.")),
        ("I sail. I sing! Do I cook?", ("I sail.", "I sing!", "Do I cook?")),
        ("I sail; I sing", ("I sail", "I sing")),
        ("I am 3.5 feet tall.", ("I am 3.5 feet tall.",)),
        ("I sail. I sing.\nI cook.", ("I sail. I sing.", "I cook.")),
    ],
)
def test_facts_are_read_one_a_line_or_as_sentences(typed: str, facts: tuple[str, ...]) -> None:
    assert split_facts(typed) == facts


def test_a_picture_is_an_address_that_discord_can_open() -> None:
    address = "https://cdn.example.org/a/vera.png?size=128"
    assert make_persona("Vera", "x", avatar_url=f" {address} ").avatar_url == address
    assert make_persona("Vera", "x").avatar_url == ""


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.png",
        "example.org/a.png",
        "https://",
        "https://localhost/a.png",
        "https://user:secret@example.org/a.png",
        "https://example.org/a b.png",
        "https://[half/a.png",
        "javascript:alert(1)",
        "data:image/png;base64,AAAA",
        "https://exämple.org/a.png",
    ],
)
def test_a_picture_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="must be the address of an image"):
        make_persona("Vera", "x", avatar_url=address)


def test_an_address_that_is_too_long_is_refused_with_the_count() -> None:
    address = "https://example.org/" + "a" * 481
    with pytest.raises(InputError, match="has 501 characters; 500"):
        make_persona("Vera", "x", avatar_url=address)
    assert make_persona("Vera", "x", avatar_url=address[:-1]).avatar_url == address[:-1]


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Ve\u202era\u202c", "Vera"),
        ("\u2066Vera\u2069", "Vera"),
        ("Ve\u200bra\ufeff\u2060\u00ad", "Vera"),
        ("Ve\u200d\u200cra", "Vera"),
        ("V\x00e\x1b[31mra", "Ve[31mra"),
        ("Z" + "\u0336" * 40 + "o", "Z\u0336\u0336\u0336o"),
        ("Z" + "\u0336\u200b" * 40, "Z\u0336\u0336\u0336"),
        ("Vera\U000e0041\U000e0042", "Vera"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("👩🏽\u200d🚀", "👩🏽\u200d🚀"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",) * 2,
        ("1\ufe0f\u20e3",) * 2,
        ("می\u200cخواهم",) * 2,
        ("क्\u200dष",) * 2,
        ("Trần Thị Hường",) * 2,
        ("שָׁלוֹם",) * 2,
    ],
)
def test_what_shows_nothing_or_turns_words_round_is_left_out_and_what_joins_stays(typed: str, kept: str) -> None:
    persona = make_persona(typed + "!", typed, (typed,), typed)
    assert (persona.name, persona.about, persona.facts, persona.greeting) == (kept + "!", kept, (kept,), kept)
    assert legible(legible(typed)) == legible(typed)


def test_line_breaks_of_a_persona_stay() -> None:
    assert make_persona("Vera", "one\r\ntwo\n\nthree").about == "one\ntwo\n\nthree"

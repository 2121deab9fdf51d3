"""Splitting: every part fits Discord, at sensible places, and no word is lost. Names that Discord takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.text import MESSAGE_UNITS, NAME_UNITS, NAMELESS, leading, legal_name, parts, split


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def test_a_short_text_is_one_part() -> None:
    assert list(split("Hello there.")) == ["Hello there."]
    assert list(split("")) == []


def test_paragraphs_come_before_sentences_and_sentences_before_words() -> None:
    assert list(split("One. Two.\n\nThree. Four.", 20)) == ["One. Two.", "Three. Four."]
    assert list(split("One two. Three four.", 12)) == ["One two.", "Three four."]
    assert list(split("alpha beta gamma", 11)) == ["alpha beta", "gamma"]


def test_a_word_that_is_too_long_is_cut_but_no_character_is() -> None:
    parts = list(split("🦜" * 3000))
    assert "".join(parts) == "🦜" * 3000
    assert all(units(part) <= MESSAGE_UNITS for part in parts)


@given(st.text(alphabet=st.sampled_from("ab. !\n🦜é…"), max_size=300), st.integers(5, 40))
def test_every_part_fits_and_every_word_arrives(text: str, limit: int) -> None:
    parts = list(split(text, limit))
    assert all(0 < units(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@given(st.text(alphabet=st.sampled_from("ab *_.\n🦜"), min_size=1, max_size=80), st.integers(1, 3000))
def test_the_first_part_has_room_for_the_name(name: str, words: int) -> None:
    reply = "word " * words
    first, *rest = parts(reply, name)
    assert units(leading(name) + first) <= MESSAGE_UNITS
    assert " ".join([first, *rest]).split() == reply.split()


def test_a_name_that_leads_a_line_formats_nothing() -> None:
    assert leading("Ve*ra_") == r"**Ve\*ra\_:** "
    assert leading("") == ""


@pytest.mark.parametrize(
    ("name", "legal"),
    [
        ("Vera", "Vera"),
        ("🦜", "🦜"),
        ("👩\u200d🚀 of 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", None),
        ("  Vera \n of   the sea ", "Vera of the sea"),
        ("x" * 81, "x" * 80),
        ("🦜" * 80, "🦜" * 40),
        ("x" * 79 + "🦜", "x" * 79),
        ("Clyde", "Cly-de"),
        ("dIsCoRd bot", "dIs-CoRd bot"),
        ("Discordclyde", "Dis-cordcly-de"),
        ("Discordia and Bonnie & CLYDE", "Dis-cordia and Bonnie & CLY-DE"),
        ("Cly\u200bde", "Cly-de"),
        ("dis\u00adcord", "dis-cord"),
        ("\u202eareV", "areV"),
        ("", NAMELESS),
        ("\u200b\u200d", NAMELESS),
        ("\u3164\u2800", NAMELESS),
        ("clyde" * 20, None),
    ],
)
def test_a_name_is_made_legal(name: str, legal: str | None) -> None:
    made = legal_name(name)
    assert legal is None or made == legal
    assert 1 <= units(made) <= NAME_UNITS
    assert made == made.strip()
    assert not {"clyde", "discord"} & {made.casefold()[at : at + size] for size in (5, 7) for at in range(len(made))}
    assert name[:1] != "👩" or made == name, "what puts an emoji together stays"

"""Splitting: every part fits Discord, at sensible places, and no word is lost."""

from hypothesis import given
from hypothesis import strategies as st

from bot.text import MESSAGE_UNITS, split


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

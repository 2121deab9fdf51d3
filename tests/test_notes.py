"""What a persona told of itself becomes notes, and a prompt with them fits: pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_chat import template
from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import ReplyRequest
from persona_chat.notes import LONGEST, MOST, fit, notes, said_of_itself
from persona_chat.persona import Persona
from tests.test_chat import VERA

DOG = "I have a dog called Rex."


def words(text: str) -> int:
    return len(text.split())


def talk(*said: str) -> Dialogue:
    """Turns of Person A and Person B, one after the other."""
    return tuple(Turn(Speaker.B if number % 2 else Speaker.A, text) for number, text in enumerate(said))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (DOG, [DOG]),
        ("Yes, I have a dog called Rex", ["I have a dog called Rex."]),
        ("No! I never eat fish. Do you?", ["I never eat fish."]),
        ("My brother is a nurse. He works at night.", ["My brother is a nurse."]),
        ("We live by the sea.", ["We live by the sea."]),
        ("I think so.", []),
        ("I do!", []),
        ("I don't know.", []),
        ("I'm fine, thanks.", []),
        ("I'd love to.", []),
        ("You have a dog.", []),
        ("It is raining.", []),
        ("Are you my friend?", []),
        ("I " + "really " * 40 + "like tea.", []),
        ("", []),
    ],
)
def test_what_somebody_tells_of_themselves(said: str, kept: list[str]) -> None:
    assert said_of_itself(said) == kept


def test_notes_are_of_person_b_and_of_what_the_persona_does_not_say_yet() -> None:
    persona = Persona("Vera", "I keep a lighthouse.", ("I love strong tea.",))
    earlier = talk(
        "I am Gus and I have three cats.",
        DOG,
        "Tea?",
        "Yes, I love strong tea!",
        "And your job?",
        "I keep a lighthouse.",
    )
    assert notes(earlier, persona) == (DOG,)


def test_the_newer_of_two_counts() -> None:
    earlier = talk("Dog?", "I have a dog called Rex.", "Still?", "I have a dog called Max now.")
    assert notes(earlier, VERA) == ("I have a dog called Max now.",)


def test_there_are_not_too_many() -> None:
    said = [line for number in range(20) for line in ("And?", f"My hobby{number} is number{number}.")]
    assert notes(talk(*said), VERA) == tuple(f"My hobby{number} is number{number}." for number in range(14, 20))


@given(st.lists(st.text(max_size=200), max_size=12))
def test_nothing_that_is_said_breaks_them(said: list[str]) -> None:
    made = notes(talk(*said), VERA)
    assert len(made) <= MOST
    assert all(0 < len(note) <= LONGEST for note in made)


def request(*said: str) -> ReplyRequest:
    return ReplyRequest(VERA, talk(*said))


def test_what_fits_needs_no_notes() -> None:
    fitted = fit(request("Dog?", DOG, "Nice."), 4000, words)
    assert (fitted.persona, fitted.notes, len(fitted.turns)) == (VERA, (), 3)


@pytest.mark.parametrize("budget", range(230, 420, 10))
def test_the_prompt_with_notes_fits(budget: int) -> None:
    long = [line for number in range(30) for line in (f"Question {number}?", f"My hobby{number} is number{number}.")]
    asked = request("Dog?", DOG, *long, "And now?")
    fitted = fit(asked, budget, words)
    assert words(template.render(fitted.persona, fitted.turns)) <= budget
    assert fitted.turns[-1].text == "And now?"
    assert fitted.persona.facts == (*VERA.facts, *fitted.notes)

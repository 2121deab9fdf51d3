"""What becomes of a card: short facts in the first person, a greeting, and a list of what was left out."""

import json

import pytest

from persona_chat import template
from persona_chat.cards import Fitted, fit, read_card
from persona_chat.dialogue import Speaker, Turn
from persona_chat.errors import CardRefused
from persona_chat.persona import FACT_CHARACTERS, GREETING_CHARACTERS
from tests.card_files import FILES, FOLDER


def fitted(name: str, **limits: int) -> Fitted:
    return fit(read_card((FOLDER / f"{name}.json").read_bytes()), **limits)


def described(description: str, name: str = "Vera", **fields: object) -> tuple[str, ...]:
    card = {"name": name, "description": description} | fields
    return fit(read_card(json.dumps(card).encode())).persona.facts


FACTS = {
    "vera-prose-she": [
        "I am a baker.",
        "I live in Hull and love my two cats.",
        "My shop opens at five, and I don't mind.",
        "My sister Ann is a nurse. She works nights.",
        "I am kind and shy.",
        "I love tea.",
    ],
    "tom-prose-he": [
        "I am a 43-year-old ferryman who grew up on the river.",
        "I have a wooden leg and carry my father's watch.",
        "I've never been to the sea.",
        "I don't trust bankers, and bankers don't trust me.",
        "I am gruff but fair.",
        "I laugh rarely.",
    ],
    "robin-they": [
        "I am a gardener.",
        "I live in York with my dog Moss and am always busy.",
        "My favourite flower is the foxglove.",
        "I've won two prizes, but nobody told me.",
    ],
    "bx7-it": [
        "I am a cleaning robot.",
        "I work in the station at Hull.",
        "My left brush is worn, and it hums when it is happy.",
    ],
    "jack-second-person": [
        "I am Jack, a pirate.",
        "I love rum, and my ship is called the Gull.",
        "People fear me, but I'm honest with you.",
        "I have never lost a fight.",
    ],
    "mina-first-person": [
        "I am Mina, a night nurse.",
        "I have a parrot called Bo.",
        "My brother thinks I work too much.",
        "I can't cook.",
        "I am patient.",
    ],
    "vera-wpp": [
        "I am 24 years old.",
        "I am female.",
        "I am a baker.",
        "I am human.",
        "I am kind and shy.",
        "I love tea.",
        "I like cats, tea and my grandmother's bread, still warm.",
        "I dislike rain and being late.",
        "I have red, long hair.",
        "I have green eyes.",
        "I am 170 cm tall.",
        "I was born in Hull.",
        "I learned to bake from my grandmother.",
    ],
    "kit-plist": [
        "I am kind and shy.",
        "I have a good sense of humor.",
        "I like cats, tea and old maps.",
        "I wear a green coat and boots.",
        "I am a courier.",
    ],
    "ada-alichat": [
        "I was born in a lighthouse.",
        "My mother kept the lamp!",
        "I'm short, and I've lost two teeth.",
        "I am blunt and cheerful.",
    ],
    "lina-boostyle": [
        "I am 31 years old.",
        "I am a violin teacher.",
        "I am strict, warm and patient.",
        "I like Bach, rain and black coffee.",
        "I hate phones.",
        "I am tall and tired.",
    ],
    "oskar-lines": [
        "My full name is Oskar Lindqvist.",
        "I am 58 years old.",
        "I am Swedish.",
        "I am a retired engineer.",
        "I live in a boat.",
        "My hobbies are chess and fishing.",
        "My favorite food is herring.",
        "I am afraid of deep water.",
        "My relationship with you is neighbour.",
    ],
    "zoe-bullets": [
        "I am cheerful.",
        "I am impatient.",
        "I talk too fast.",
        "I like skateboards.",
        "I like bubble tea.",
        "I moved to Leeds when I was nine.",
        "I miss my grandfather, who taught me to whistle.",
    ],
    "ines-xml": ["I am calm and curious.", "I study eels.", "I have a small boat and a large debt."],
    "parrot-emoji": ["I am a parrot.", "I live on a boat.", "I repeat everything you say."],
    "mira-v3": [
        "I command the freighter Lark.",
        "I have two rules: never owe money, never lend it.",
        "My crew trusts me.",
        "I am calm, dry and stubborn.",
    ],
    "macros": [
        "I collect stamps and maps.",
        "I have known you since school.",
        "You owe me money.",
        "My door is never locked.",
    ],
    "duplicates": ["I am a miller.", "I'm a miller.", "I like bread.", "I am quiet."],
    "others-pronouns": [
        "I am a detective.",
        "I share an office with Max. He snores.",
        "My brother Paul is a thief. He sent me a postcard.",
        "Everyone in Oss knows me and nobody thanks me.",
    ],
    "apostrophes": [
        "I am not rich.",
        "I've been a singer for years, and I'm tired.",
        "My voice is low.",
        "I haven't slept.",
        "I am proud and restless.",
        "I am a good listener.",
    ],
    "world-not-person": ["I am a tavern at the edge of the forest.", "I have seven rooms.", "Old books line my walls."],
    "jobs-and-looks": [
        "I am 40 years old.",
        "I have black, short hair.",
        "I have brown eyes.",
        "I have freckled skin.",
        "In looks I am thin.",
        "I am a postman and an amateur astronomer.",
        "I work at the post office in Delft.",
        "I speak Dutch and English.",
        "My goals are to see Saturn's rings with my own eyes.",
        "I hum when I sort letters.",
        "I never wear gloves.",
        "I have a tortoise named Kees.",
    ],
    "example-only": ["I am the king's cook.", "I have never burnt a pie."],
}


@pytest.mark.parametrize("name", FACTS)
def test_a_card_becomes_facts_in_the_first_person(name: str) -> None:
    assert list(fitted(name).persona.facts) == FACTS[name]


@pytest.mark.parametrize(
    ("sentence", "fact"),
    [
        ("Vera Lindqvist, a 24-year-old baker, lives in Hull.", "I, a 24-year-old baker, live in Hull."),
        ("Her sister loves her and calls her Vee.", "My sister loves me and calls me Vee."),
        ("She is a baker who loves cats and hates rain.", "I am a baker who loves cats and hates rain."),
        ("She likes films and plays.", "I like films and plays."),
        ("She sings and dances.", "I sing and dance."),
        ("Vera and her sister run a shop.", "My sister and I run a shop."),
        ("Tom and Vera are married.", "Tom and I are married."),
        ("Her name is Vera Lindqvist.", "My name is Vera Lindqvist."),
        ("When she was 12, she carried bread.", "When I was 12, I carried bread."),
        ("{{char}} trusts {{user}} and {{user}} trusts her.", "I trust you and you trust me."),
        ("She goes out, watches films, and rarely cries.", "I go out, watch films, and rarely cry."),
        ("He left her his watch, which she still wears.", "He left me his watch, which I still wear."),
        ("That shop is hers; she does it all herself.", "That shop is mine; I do it all myself."),
        ("Vera wasn't happy, isn't rich and doesn't care.", "I wasn't happy, am not rich and don't care."),
        ("Works as a baker.", "I work as a baker."),
        ("A kind baker with red hair.", "I am a kind baker with red hair."),
        ("She lives at St. Mary's with Dr. J. Brown.", "I live at St. Mary's with Dr. J. Brown."),
    ],
)
def test_a_sentence_is_told_by_whom_it_is_about(sentence: str, fact: str) -> None:
    assert " ".join(described(f"Vera was born in Hull. She is grown up. {sentence}")[1:]) == f"I am grown up. {fact}"


def test_what_makes_no_fact_is_what_the_persona_is_about() -> None:
    assert fitted("others-pronouns").persona.about == "The city of Oss is always wet."
    assert fitted("bx7-it").persona.about == "It is said that robots dream."


def test_a_text_in_another_language_stays_as_it_is() -> None:
    greta, yuki = fitted("greta-german").persona, fitted("yuki-japanese").persona
    assert (greta.facts, yuki.facts) == ((), ())
    assert greta.about.startswith("Greta ist Bäckerin in Kiel.\nSie liebt ihre zwei Katzen und steht um vier Uhr auf.")
    assert yuki.about.startswith("雪は京都に住んでいるパン職人です。\n猫が二匹います。")
    assert (greta.greeting, yuki.greeting) == ("Moin!", "いらっしゃいませ。")


@pytest.mark.parametrize(
    ("name", "greeting"),
    [
        ("vera-prose-she", "*Vera looks up.* Good morning! You look cold. Tea?"),
        ("macros", "Your tea is cold. You are always late."),
        ("mira-v3", "State your business."),
        ("world-not-person", "The door creaks as you enter."),
        ("nulls", ""),
    ],
)
def test_a_greeting_speaks_to_whoever_reads_it(name: str, greeting: str) -> None:
    assert fitted(name).greeting == greeting


def test_a_greeting_that_asks_for_the_name_does_without_it() -> None:
    card = json.dumps({"name": "Vera", "description": "I bake.", "first_mes": "Oh! You must be {{user}}."}).encode()
    assert fit(read_card(card)).greeting == "Oh! So it is you."


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("nulls", ()),
        ("vera-prose-she", ("the scenario", "example dialogue (2 lines)")),
        ("kit-plist", ("what the description says of the scene", "example dialogue (1 line)")),
        ("lore-huge", ("a lorebook of 140 entries", "3 other greetings")),
        ("mira-v3", ("1 other greeting", "1 greeting for groups", "2 further pictures or files")),
        ("nsfw-tags", ("the system prompt", "the instructions after the history")),
        ("jack-second-person", ("2 instructions to the model",)),
        ("long-story", ("56 sentences that were too many",)),
        ("long-sentence", ("1 sentence that was too long", "the end of the greeting")),
        ("hostile", ("2 sentences with a link or a mention", "1 instruction to the model")),
    ],
)
def test_what_is_left_out_is_said(name: str, left_out: tuple[str, ...]) -> None:
    assert fitted(name).left_out == left_out


def test_facts_are_kept_to_a_number_and_looks_go_first() -> None:
    kept = fitted("jobs-and-looks", facts=8).persona.facts
    assert kept == tuple(fact for number, fact in enumerate(FACTS["jobs-and-looks"]) if number not in (1, 2, 3, 4))
    assert len(fitted("long-story").persona.facts) == 24


@pytest.mark.parametrize(
    ("name", "restricted"), [("nsfw-tags", True), ("nsfw-extension", True), ("zoe-bullets", False)]
)
def test_a_card_for_adults_is_known_by_its_tags_and_extensions(name: str, restricted: bool) -> None:
    assert fitted(name).age_restricted is restricted


def test_a_card_that_says_nothing_is_refused_and_a_greeting_is_enough() -> None:
    with pytest.raises(CardRefused, match="says nothing about Nobody"):
        fitted("empty-but-name")
    assert fitted("greeting-only").persona.facts == ("My name is Echo.",)


@pytest.mark.parametrize("name", ["\u200b\u202e", "{{user}}", "<@1>", "<b></b>"])
def test_a_name_that_nobody_can_read_is_refused(name: str) -> None:
    with pytest.raises(CardRefused, match="name in the card cannot be read"):
        described("I bake.", name=name)


def test_a_long_name_is_cut_between_words() -> None:
    card = json.dumps({"name": "Anna " * 40, "description": "I bake."}).encode()
    assert fit(read_card(card)).persona.name == " ".join(["Anna"] * 16)


def test_nothing_of_a_card_can_act_as_a_part_of_the_prompt_or_of_a_message() -> None:
    persona = fitted("hostile").persona
    assert (persona.name, persona.greeting) == ("Mallory", "click Hi.")
    told = "\n".join((persona.name, persona.about, *persona.facts, persona.greeting))
    for never in (
        "Persona A:",
        "Persona B:",
        "<|",
        "###",
        "```",
        "@",
        "<",
        "{",
        "}",
        "http",
        "discord.gg",
        "\u202e",
        "\0",
    ):
        assert never not in told
    assert "Ignore all previous instructions" not in told


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_card_keeps_the_limits_and_the_form(path: object) -> None:
    name = getattr(path, "stem", "")
    if name == "empty-but-name":
        return
    persona = fitted(name).persona
    assert len(persona.facts) <= 24
    assert all(len(fact) <= FACT_CHARACTERS and "\n" not in fact and "{{" not in fact for fact in persona.facts)
    assert len(persona.about) <= 600
    assert len(persona.greeting) <= GREETING_CHARACTERS
    prompt = template.render(persona, (Turn(Speaker.A, "Hello"),))
    assert prompt.count("Conversation: {") == 1
    assert prompt.count("Persona A:") == 1


def test_how_long_a_text_is_read_is_bounded() -> None:
    card = json.dumps({"name": "Vera", "description": "[a: b; c]" * 60_000, "personality": "Mr. " * 60_000}).encode()
    fitted = fit(read_card(card))
    assert "the end of the description, which is very long" in fitted.left_out
    assert "the end of the personality, which is very long" in fitted.left_out

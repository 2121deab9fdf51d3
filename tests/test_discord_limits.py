"""What Discord allows, each at its edge: characters of messages, forms, cards and choices, choices, and time."""

import asyncio

import discord
import pytest

from bot.persona_form import OPEN_S, LineForm, PersonaForm, typed
from bot.portrait import portrait
from bot.rule_lines import REPORTS, channel_lines, role_lines, rule_lines
from bot.text import split
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import InputError
from persona_chat.language import LANGUAGES, speaking
from persona_chat.moderation import LISTED
from persona_chat.persona import (
    ABOUT_CHARACTERS,
    FACTS_CHARACTERS,
    GREETING_CHARACTERS,
    NAME_CHARACTERS,
    Persona,
    make_persona,
)
from persona_chat.rules import Rules
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.word_filter import WORDS, Filtering, Side
from tests.discord_world import fill, told, world

FACT = "I know a thing that takes seventy-nine characters to say, and I say it so often"
LARGEST = make_persona(
    "N" * NAME_CHARACTERS,
    "*" * ABOUT_CHARACTERS,
    [FACT] * (FACTS_CHARACTERS // (len(FACT) + 1)),
    "_" * GREETING_CHARACTERS,
    age_restricted=True,
)


@pytest.mark.parametrize("units", [1899, 1900, 1901, 1999, 2000, 2001, 4001])
@pytest.mark.parametrize("letter", ["a", "🦜", "ä"])
def test_a_reply_of_any_length_goes_out_in_messages_of_at_most_2000(units: int, letter: str) -> None:
    text = letter * (units // (len(letter.encode("utf-16-le")) // 2))
    parts = list(split(text))
    assert "".join(parts) == text
    assert all(len(part.encode("utf-16-le")) // 2 <= 2000 for part in parts)
    assert len(parts) == -(-len(text.encode("utf-16-le")) // 2 // 1900)


def test_the_largest_persona_fits_a_form_a_card_and_a_title() -> None:
    async def done(_interaction: discord.Interaction, _persona: Persona) -> None: ...

    async def said(_interaction: discord.Interaction, _line: str) -> None: ...

    form = PersonaForm("Change the persona", typed(LARGEST), done)
    fields = [form.name_field, form.about_field, form.facts_field, form.greeting_field]
    assert len(form.children) <= 5
    for field in fields:
        assert field.max_length is not None
        assert len(field.default or "") <= field.max_length <= 4000
    assert form.facts_field.default == "\n".join(LARGEST.facts), "nothing is cut: what is sent back is what is kept"
    assert len(LineForm(LARGEST, said).title) <= 45
    card = portrait(LARGEST, tokens=12_345)
    assert len(card.title or "") <= 256
    assert len(card.description or "") <= 4096
    assert all(len(field.value or "") <= 1024 for field in card.fields)
    assert len(card) <= 6000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"name": "N" * (NAME_CHARACTERS + 1)}, "81 characters"),
        ({"about": "a" * (ABOUT_CHARACTERS + 1)}, "4,001 characters"),
        ({"facts": ["f" * 399] * 11}, "together; 4,000 are allowed"),
        ({"greeting": "g" * (GREETING_CHARACTERS + 1)}, "1,501 characters"),
    ],
)
def test_one_character_more_is_refused(words: dict[str, object], says: str) -> None:
    given: dict[str, object] = {"name": "N", "about": "a", "facts": [], "greeting": ""} | words
    with pytest.raises(InputError, match=says):
        make_persona(**given)  # type: ignore[arg-type]


async def test_names_of_eighty_characters_can_be_chosen(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for home in (here.place(here.talk).home, here.place(here.talk).mine):
            await here.bot.chat.cast.create(home, Persona("N" * NAME_CHARACTERS, "A."), here.guest.id)
        choices = await here.guest.autocomplete(here.talk, "persona show", "name", "n")
        assert len({choice["value"] for choice in choices}) == 2
        for choice in choices:
            assert len(choice["name"]) <= 100
            (shown,) = told(await here.guest.slash(here.talk, "persona show", name=choice["value"]))
            assert shown.embeds


class Slow(ScriptedEngine):
    """Takes longer to count a persona's tokens than Discord waits."""

    async def check_persona(self, persona: Persona) -> int:
        await asyncio.sleep(4)
        return await super().check_persona(persona)


@pytest.fixture
def acknowledged(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When interactions were acknowledged, in seconds of the loop."""
    moments: list[float] = []
    respond = discord.InteractionResponse.defer

    async def noted(response: discord.InteractionResponse, **options: bool) -> None:
        moments.append(asyncio.get_running_loop().time())
        await respond(response, **options)

    monkeypatch.setattr(discord.InteractionResponse, "defer", noted)
    return moments


async def test_a_slow_model_is_no_reason_to_miss_the_three_seconds(
    store: Store, settings: Settings, acknowledged: list[float]
) -> None:
    async with world(store, settings, Slow(lambda _request: "Hi.")) as here:
        began = asyncio.get_running_loop().time()
        result = await here.owner.slash(here.talk, "persona set", name="Vera", about="A keeper.")
        assert "**Vera** is talking here now" in told(result)[0].content
        assert acknowledged[0] - began < 3
        form = await here.owner.slash(here.talk, "persona create")
        began = asyncio.get_running_loop().time()
        await fill(here.owner, form, "Nemo", "A captain.")
        assert acknowledged[1] - began < 3


def test_buttons_end_before_discord_lets_go_of_their_message() -> None:
    assert OPEN_S < 15 * 60


@pytest.mark.parametrize("language", ["en-US", *LANGUAGES])
def test_the_longest_lists_of_a_server_fit(language: str) -> None:
    listed = {2**63 - 1 - number: number % 2 == 0 for number in range(LISTED)}
    filtering = Filtering(Side.BOTH, words=("a",) * WORDS)
    with speaking(language):
        everything = rule_lines(Rules(listed, listed, filtering, 2**63 - 1), 1, REPORTS)
        assert len("\n".join(everything)) <= 4096, "they are shown in an embed"
        for lines in (channel_lines(listed), role_lines(listed, 1)):
            assert len("\n".join(lines)) <= 2000

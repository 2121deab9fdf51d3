"""Reading and writing character cards: what is read, what is refused, and what comes back."""

import base64
import io
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from persona_chat.cards import FILE_BYTES, JSON_BYTES, Card, fit, read_card, write_card, write_png
from persona_chat.errors import CardRefused, InputError
from persona_chat.example import DAVID
from persona_chat.persona import Persona, make_persona
from tests.card_files import FILES, FOLDER, card_png, chunk, damaged, packed_png, png

VERA = Persona("Vera", "I bake.", ("I have two cats.", "I live in Hull."), "Morning!")


def card(**fields: object) -> bytes:
    return json.dumps({"name": "Vera", "description": "Vera is a baker."} | fields).encode()


def facts(data: bytes) -> tuple[str, ...]:
    return fit(read_card(data)).persona.facts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_card_reads_the_same_as_json_and_from_a_png(path: Path) -> None:
    data = path.read_bytes()
    as_json = read_card(data)
    assert as_json.name
    assert read_card(b"\xef\xbb\xbf" + data) == as_json
    for keyword in ("chara", "ccv3"):
        assert read_card(card_png(data, keyword)) == as_json


def test_in_a_png_the_card_of_v3_comes_before_the_one_of_v2() -> None:
    both = {"chara": base64.b64encode(card(name="Old")), "ccv3": base64.b64encode(card(name="New"))}
    assert read_card(png(both)).name == "New"


def test_packed_and_international_texts_are_read() -> None:
    text = base64.b64encode(card())
    for kind, content in (
        (b"zTXt", b"chara\0\0" + zlib.compress(text)),
        (b"iTXt", b"chara\0\0\0en\0\0" + text),
        (b"iTXt", b"chara\0\1\0\0\0" + zlib.compress(text)),
    ):
        assert read_card(png({}, extra=chunk(kind, content))).name == "Vera"


def test_base64_may_have_line_breaks_and_lack_its_padding() -> None:
    text = base64.encodebytes(card()).rstrip(b"=\n")
    assert read_card(png({"chara": text})).name == "Vera"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no PNG, and no JSON"),
        (b"not a card", "no PNG, and no JSON"),
        (b"\xff\xd8\xff\xe0JFIF", "JPEG picture, which carries no card. Take the original PNG"),
        (b"PK\x03\x04...", "an archive"),
        (b"\x80abc", "not UTF-8"),
        (card().decode().encode("utf-16"), "not UTF-8"),
        (b"[]", "this is a list"),
        (b"{}", "no `name`"),
        (b'{"spec": "chara_card_v2", "name": "Vera"}', "`data` must be an object, found nothing"),
        (card(name=7), "`name` must be text, found a number"),
        (card(description=["a"]), "`description` must be text, found a list"),
        (card(alternate_greetings="Hi"), "`alternate_greetings` must be a list, found text"),
        (card(tags=["a", None]), "Item 2 of `tags` must be text, found nothing"),
        (card(extensions=[]), "`extensions` must be an object, found a list"),
        (card(character_book={"entries": 3}), "`entries` in `character_book` must be a list"),
        (card(character_book="x"), "`character_book` must be an object, found text"),
        (png({}), "carries no card"),
        (png({"chara": b"!!!"}), "damaged"),
        (card_png(card())[:-40], "carries no card"),
        (card_png(card()).replace(b"eyJu", b"eyJv"), "damaged"),
        (b" " * (JSON_BYTES + 1), "1.0 MB; 1 MB is allowed"),
        (b"x" * (FILE_BYTES + 1), "8.0 MB; 8 MB are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(CardRefused, match=says) as refused:
        read_card(data)
    assert "\n" not in str(refused.value)
    assert isinstance(refused.value, InputError)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"name": "x", "a": ' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 32 deep"),
        (b"[" * 1_000_000, "far too many parts"),
        (b"[" * 90_000, "nested"),
        (b'"' + b'\\"' * 40_000, "no JSON"),
        (b"{" + b",".join(b'"%x":1' % number for number in range(90_000)) + b"}", "far too many parts"),
        (b'{"name": "x", "a": ' + b"9" * 5000 + b"}", "thousands of digits"),
        (b'{"name": "x", "tags": [' + b"1," * 400_000 + b"1]}", "Item 1 of `tags`"),
        (packed_png(50), "too long"),
        (packed_png(50, international=True), "too long"),
        (png({"chara": b"A" * 2_000_000}), "too long"),
        (png({}, extra=chunk(b"tEXt", b"") * 20_000), "too many pieces"),
        (png({}, width=2**31 - 1, height=2**31 - 1), "carries no card"),
    ],
    ids=range(12),
)
def test_what_would_take_much_to_open_is_refused_unopened(data: bytes, says: str) -> None:
    with pytest.raises(CardRefused, match=says):
        read_card(data)


def test_brackets_within_a_text_are_no_nesting() -> None:
    assert read_card(card(scenario="[" * 500 + '\\"{' * 100)).scenario.startswith("[[[")


def test_odd_json_is_read_as_far_as_it_means_something() -> None:
    data = b'{"name": "Old", "name": "Vera", "x": NaN, "y": 1e999, "description": "A \\ud800 baker.", "tags": null}'
    read = read_card(data)
    assert (read.name, read.tags) == ("Vera", ())
    assert read.description == "A ? baker."


def test_what_a_card_points_to_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket", None)
    fitted = fit(read_card((FOLDER / "mira-v3.json").read_bytes()))
    assert "2 further pictures or files" in fitted.left_out


def test_a_thousand_damaged_cards_are_each_read_or_refused() -> None:
    outcomes = {"read": 0, "refused": 0}
    for data in damaged(1000):
        try:
            persona = fit(read_card(data)).persona
        except CardRefused:
            outcomes["refused"] += 1
        else:
            assert persona.name
            assert persona.about or persona.facts
            outcomes["read"] += 1
    assert min(outcomes.values()) > 200, outcomes


def test_a_persona_comes_back_as_it_was_from_json_and_png() -> None:
    for persona in (
        VERA,
        DAVID,
        Persona("🦜", "Ich bin ein Papagei.\n\n{{char}}", (), "", True, "https://a.example/p.png"),
    ):
        data = write_card(persona, creator="somebody", tags=["bird"])
        assert fit(read_card(data)) == fit(read_card(write_png(data)))
        assert fit(read_card(data)).persona == persona
        assert fit(read_card(data)).left_out == ()


TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


@settings(deadline=None)
@given(TEXT, TEXT, st.lists(TEXT, max_size=6), TEXT, st.booleans())
def test_every_persona_survives_export_and_import(
    name: str, about: str, known: list[str], greeting: str, adult: bool
) -> None:
    try:
        persona = make_persona(name, about, known, greeting, age_restricted=adult)
    except InputError:
        return
    assert fit(read_card(write_card(persona))).persona == persona


def test_a_description_that_was_edited_elsewhere_wins() -> None:
    document = json.loads(write_card(VERA))
    document["data"]["description"] = "Vera is a pilot."
    assert facts(json.dumps(document).encode()) == ("I am a pilot.",)
    document = json.loads(write_card(VERA))
    document["data"]["description"] = document["data"]["description"].replace("\n", "\r\n")
    document["data"]["first_mes"] = "Evening!"
    fitted = fit(read_card(json.dumps(document).encode()))
    assert fitted.persona == Persona(VERA.name, VERA.about, VERA.facts, "Evening!")


def test_an_extension_that_is_not_ours_or_broken_is_ignored() -> None:
    for broken in (
        None,
        3,
        {},
        {"about": 1, "facts": []},
        {"about": "", "facts": [1]},
        {"about": "x" * 5000, "facts": []},
    ):
        assert facts(card(extensions={"persona_chat": broken})) == ("I am a baker.",)


def test_an_age_restricted_persona_says_so_on_its_card() -> None:
    data = write_card(Persona("Nadia", "", ("I run a bar.",), "", True))
    assert json.loads(data)["data"]["tags"] == ["nsfw"]
    assert fit(read_card(data)).age_restricted


def test_a_written_card_has_the_layout_that_others_read() -> None:
    document = json.loads(write_card(VERA, creator="somebody"))
    assert (document["spec"], document["spec_version"]) == ("chara_card_v3", "3.0")
    assert document["name"] == document["data"]["name"] == "Vera"
    assert document["data"]["description"] == "I bake.\n\nI have two cats.\nI live in Hull."
    assert document["first_mes"] == document["data"]["first_mes"] == "Morning!"
    assert document["data"]["creator"] == "somebody"
    assert set(Card.model_fields) - {"nickname", "assets", "character_book"} <= set(document["data"])


def test_a_written_png_carries_both_versions_and_a_picture() -> None:
    with Image.open(io.BytesIO(write_png(write_card(VERA)))) as picture:
        texts = {key: json.loads(base64.b64decode(text)) for key, text in picture.text.items()}  # type: ignore[attr-defined]
        assert picture.size == (400, 400)
        assert len(picture.getcolors(100_000) or ()) > 1
    assert [texts[key]["spec"] for key in ("chara", "ccv3")] == ["chara_card_v2", "chara_card_v3"]
    assert texts["chara"]["data"] == texts["ccv3"]["data"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_given_picture_is_drawn_anew_without_what_it_carried(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(file, kind, comment=b"secret place")
    data = write_png(write_card(VERA), file.getvalue())
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (1024, 512)
        red, green, blue = picture.split()
        assert red.getextrema()[0] > 240 > 20 > max(green.getextrema()[1], blue.getextrema()[1])
    assert b"secret" not in data
    assert read_card(data).name == "Vera"


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (b"", "cannot be read"),
        (b"GIF89a", "cannot be read"),
        (png({}, width=2**31 - 1, height=2**31 - 1), "cannot be read"),
        (png({}, width=9000, height=9000), "9,000 × 9,000 pixels"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 8_000_000, "8.0 MB; 8 MB"),
    ],
    ids=range(5),
)
def test_a_picture_that_cannot_be_used_is_refused(picture: bytes, says: str) -> None:
    with pytest.raises(CardRefused, match=says):
        write_png(write_card(VERA), picture)

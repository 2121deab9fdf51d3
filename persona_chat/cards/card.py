"""The card as a value: the fields of V1, V2 and V3 that mean something here. It knows nothing of files or of personas.

V1 is flat, V2 and V3 keep the same fields in `data`: https://github.com/malfoyslastname/character-card-spec-v2 and
https://github.com/kwaroran/character-card-spec-v3. Fields that nothing here reads are not checked, since real cards
hold anything there.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FailFast, ValidationError

from persona_chat.errors import CardRefused
from persona_chat.heard import encodable
from persona_chat.language import N_, _

# A list of 100,000 wrong items would make as many errors, and one is all that is said.
_Texts = Annotated[tuple[Annotated[str, BeforeValidator(lambda value: _whole(value))], ...], FailFast()]
_Text = Annotated[str, BeforeValidator(lambda value: _whole(value))]
_Object = dict[str, Any]

_KINDS = {
    dict: N_("an object"),
    list: N_("a list"),
    str: N_("text"),
    bool: N_("true or false"),
    type(None): N_("nothing"),
}
_WANTED = {"string_type": "text", "tuple_type": "a list", "dict_type": "an object", "model_type": "an object"}


class Book(BaseModel):
    """A lorebook; only how much is in it is of interest. SillyTavern's own files have an object of entries."""

    model_config = ConfigDict(frozen=True)

    entries: list[Any] | dict[str, Any] = []


class Card(BaseModel):
    """A character card as its author wrote it; what was missing is empty."""

    model_config = ConfigDict(frozen=True)

    name: _Text = ""
    nickname: _Text = ""
    description: _Text = ""
    personality: _Text = ""
    scenario: _Text = ""
    first_mes: _Text = ""
    mes_example: _Text = ""
    creator: _Text = ""
    creator_notes: _Text = ""
    system_prompt: _Text = ""
    post_history_instructions: _Text = ""
    alternate_greetings: _Texts = ()
    group_only_greetings: _Texts = ()
    tags: _Texts = ()
    assets: Annotated[tuple[_Object, ...], FailFast()] = ()
    character_book: Book = Book()
    extensions: _Object = {}


def make_card(document: object) -> Card:
    """Make a card of a parsed JSON document, or raise CardRefused that names the field."""
    if not isinstance(document, dict):
        text = _("A card is a JSON object, and this is {found}. Export it again as JSON or PNG.")
        raise CardRefused(text.format(found=_kind(document)))
    data = document.get("data")
    if "spec" in document and not isinstance(data, dict):
        text = _("`data` must be an object, found {found}. Export the card again.")
        raise CardRefused(text.format(found=_kind(data)))
    fields = data if isinstance(data, dict) else document
    # Null is how several editors write an empty field.
    known = {name: fields[name] for name in Card.model_fields if fields.get(name) is not None}
    try:
        card = Card.model_validate(known)
    except ValidationError as error:
        raise CardRefused(_said(error)) from None
    if not card.name.strip():
        raise CardRefused(
            _("There is no `name` in it. Is it a character card? Give the character a name and export it.")
        )
    return card


def _whole(value: object) -> object:
    return encodable(value) if isinstance(value, str) else value


def _said(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    field, *items = first["loc"]
    if field == "character_book" and items:
        return _("`entries` in `character_book` must be a list. Take the lorebook out of the card, or export it again.")
    where = f"`{field}`"
    if items and isinstance(items[0], int):
        where = _("Item {number} of `{field}`").format(number=items[0] + 1, field=field)
    wanted = _(_WANTED.get(first["type"], N_("something else")))
    text = _("{where} must be {wanted}, found {found}. Correct it, or export the card again.")
    return text.format(where=where, wanted=wanted, found=_kind(first["input"]))


def _kind(value: object) -> str:
    return _(_KINDS.get(type(value), N_("a number")))

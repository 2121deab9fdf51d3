"""Writing a card, as JSON and into a PNG, so that SillyTavern and others read it. It knows the format's layout.

V3's fields are V2's and some more, so one JSON serves both; the flat fields of V1 stand beside `data`, as SillyTavern
writes them. In a PNG stand two texts: `ccv3`, and `chara` for older readers, which says that it is V2.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any

from persona_chat.cards.own import KEY, described, own_fields
from persona_chat.cards.picture import png_of
from persona_chat.heard import encodable
from persona_chat.persona import Persona


def write_card(persona: Persona, *, creator: str = "", tags: Iterable[str] = ()) -> bytes:
    """Return the persona as a card: JSON of V3, in UTF-8.

    `read_card` and `fit` give exactly this persona back. One that is age-restricted gets the tag `nsfw`.
    """
    labels = [encodable(tag) for tag in tags]
    if persona.age_restricted and "nsfw" not in labels:
        labels.append("nsfw")
    old: dict[str, Any] = {
        "name": persona.name,
        "description": described(persona),
        "personality": "",
        "scenario": "",
        "first_mes": persona.greeting,
        "mes_example": "",
    }
    data = old | {
        "creator_notes": "",
        "system_prompt": "",
        "post_history_instructions": "",
        "alternate_greetings": [],
        "group_only_greetings": [],
        "tags": labels,
        "creator": encodable(creator),
        "character_version": "",
        "extensions": {KEY: own_fields(persona)},
    }
    card = old | {"tags": labels, "spec": "chara_card_v3", "spec_version": "3.0", "data": data}
    return _json(card)


def write_png(card_json: bytes, picture: bytes | None = None) -> bytes:
    """Return a PNG that carries the card which `write_card` returned: on a picture, or on a plain square.

    The picture may be PNG, JPEG, WebP or GIF; it is drawn anew, at most 1,024 pixels wide and high, and nothing that it
    carried beside its pixels goes along. Raises CardRefused when it cannot be used.
    """
    card = json.loads(card_json)
    older = card | {"spec": "chara_card_v2", "spec_version": "2.0"}
    texts = {"chara": base64.b64encode(_json(older)).decode(), "ccv3": base64.b64encode(card_json).decode()}
    return png_of(picture, name=card["data"]["name"], texts=texts)


def _json(card: dict[str, Any]) -> bytes:
    return json.dumps(card, ensure_ascii=False, indent=2).encode()

"""What this program writes into a card for itself, so that a persona comes back as it was.

`extensions.persona_chat` holds `about`, `facts` and what a card has no field for. The description beside them is what
other programs show and edit; once it says something else, it is the newer one.
"""

from typing import Any

from persona_chat.cards.card import Card
from persona_chat.errors import InputError
from persona_chat.persona import Persona, make_persona

KEY = "persona_chat"


def own_fields(persona: Persona) -> dict[str, Any]:
    """Return what goes into the extension."""
    return {
        "about": persona.about,
        "facts": list(persona.facts),
        "age_restricted": persona.age_restricted,
        "avatar_url": persona.avatar_url,
    }


def described(persona: Persona) -> str:
    """Return the persona as the description of a card: what it is about, and then a fact a line."""
    return "\n\n".join(part for part in (persona.about, "\n".join(persona.facts)) if part)


def own_persona(card: Card) -> Persona | None:
    """Return the persona that the card was written from, or None where it was not, or was edited since."""
    fields = card.extensions.get(KEY)
    if not isinstance(fields, dict):
        return None
    about, facts, adult = fields.get("about"), fields.get("facts"), fields.get("age_restricted", False)
    if not isinstance(about, str) or not isinstance(facts, list) or not all(isinstance(fact, str) for fact in facts):
        return None
    avatar_url = fields.get("avatar_url", "")
    if card.personality.strip() or not isinstance(avatar_url, str):
        return None
    try:
        persona = make_persona(
            card.name, about, facts, card.first_mes, age_restricted=adult is True, avatar_url=avatar_url
        )
    except InputError:
        return None
    # Other programs may change line ends.
    return persona if described(persona).split() == card.description.split() else None

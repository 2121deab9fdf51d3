"""Character cards, the format in which SillyTavern and others share personas: read, fitted to our form, written.

It knows the format and some English grammar. It knows no Discord, no store, no model and no tokens, opens no file
and never fetches what a card points to.
"""

from persona_chat.cards.card import Card
from persona_chat.cards.fitting import FACTS_KEPT, Fitted, fit
from persona_chat.cards.reading import FILE_BYTES, JSON_BYTES, JSON_DEPTH, read_card
from persona_chat.cards.writing import write_card, write_png

__all__ = [
    "FACTS_KEPT",
    "FILE_BYTES",
    "JSON_BYTES",
    "JSON_DEPTH",
    "Card",
    "Fitted",
    "fit",
    "read_card",
    "write_card",
    "write_png",
]

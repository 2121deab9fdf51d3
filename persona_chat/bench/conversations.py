"""The conversations that are measured: the same ones for every engine, none of which was ever read before."""

from collections.abc import Callable
from itertools import count

from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.persona import Persona

_TRADES = ("baker", "nurse", "gardener", "sailor", "teacher", "painter", "plumber", "clockmaker")
_SAID = (
    "What did you do last weekend? I went to the sea with my sister and we nearly lost our hats in the wind.",
    "Do you like to cook? I burned the soup again yesterday, and now the whole kitchen smells of it.",
    "My train was late this morning, so I read half a book on the platform. Do you read much?",
    "It has been raining for a week here. How is the weather where you live?",
)
_ANSWERED = (
    "That sounds like fun! I stayed at home and worked in the garden until it was dark outside.",
    "I do like it, but I mostly make simple things, bread and soup and now and then a cake.",
    "Not as much as I would like to. In the evening I am tired, and I fall asleep over the second page.",
    "The same here, rain and more rain. At least the flowers are happy about it.",
)
_NEXT = "And what would you do with a whole day off tomorrow?"

_FACTS = (
    "I have two brothers and no sisters.",
    "I get up at five every morning.",
    "I am afraid of heights.",
    "I love strong tea with honey.",
    "I once won a prize for growing pumpkins.",
)


def request(number: int, history: int, tokens: int, measure: Callable[[Dialogue], int], *, warm: bool) -> ReplyRequest:
    """Return conversation `number` as a request for exactly `tokens` tokens, with about `history` tokens of turns.

    `measure` counts the tokens of turns. The warm one is the next turn of the same conversation.
    """
    turns: tuple[Turn, ...] = ()
    for pair in count():
        asked = Turn(Speaker.A, _SAID[(number + pair) % len(_SAID)])
        longer = (*turns, asked, Turn(Speaker.B, _ANSWERED[(number + pair) % len(_ANSWERED)]))
        if measure(longer) > history:
            break
        turns = longer
    turns = (*turns, Turn(Speaker.A, f"Hello, number {number}! {_SAID[number % len(_SAID)]}"))
    if warm:
        turns = (*turns, Turn(Speaker.B, _ANSWERED[number % len(_ANSWERED)]), Turn(Speaker.A, _NEXT))
    trade = _TRADES[number % len(_TRADES)]
    # The number stands first, so that no two have more in common than the form.
    persona = Persona(f"Robin {number}", f"{number} is my lucky number, and I am a {trade}.", _FACTS)
    return ReplyRequest(persona, turns, Sampling(tokens, 0, whole=True), 600, number)

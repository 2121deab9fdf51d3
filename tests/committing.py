"""A program that answers messages without end, and says of each that it is kept; tests kill it.

    python -m tests.committing URL FIRST

Each line is Discord's id of a message whose answer the store has kept: whoever reads it may rely on that.
"""

import sys

from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.database import open_database
from persona_chat.store.store import Store

CHANNEL, PERSON, SERVER = 7, 5, 3
PLACE = Place(CHANNEL, PERSON, SERVER)


def main(url: str, message_id: int) -> None:
    store = Store(open_database(url))
    store.seating.put(Spot(Scope.CHANNEL, CHANNEL), Spot(Scope.SERVER, SERVER), Persona("Vera", "A keeper."))
    seated = store.seating.seated(PLACE)
    assert seated is not None
    while True:
        assert store.claim(Heard(message_id, PLACE, "Gus", f"question {message_id}"))
        store.save_reply(message_id, seated.revision_id, f"answer {message_id}")
        store.mark_sent(message_id, 0, message_id)
        print(message_id, flush=True)
        message_id += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""People who talked, on a real database, and what a database and its files hold of them."""

import random
from pathlib import Path

import pytest

from persona_chat.chat import Chat
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.privacy import Privacy
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.store.tables import Base
from tests.postgres import rows_of

# With fewer digits they would now and then be found in the microseconds of a time.
GUS, OLIVE, SERVER, CHANNEL = 70_000_001, 70_000_002, 50, 100
CANARY = "canary"
VERA = Persona("Vera", "I keep a lighthouse.")


def place(person: int = GUS, channel: int = CHANNEL, guild: int | None = SERVER) -> Place:
    return Place(channel, person, guild)


def seat_vera(store: Store, channel: int = CHANNEL) -> int:
    store.seating.put(Spot(Scope.CHANNEL, channel), Spot(Scope.SERVER, SERVER), VERA, OLIVE)
    seated = store.seating.seated(place(channel=channel))
    assert seated is not None
    return seated.revision_id


def say(store: Store, number: int, person: int, text: str, revision: int, channel: int = CHANNEL) -> None:
    """Something that is said, answered twice, and sent."""
    assert store.claim(Heard(number, place(person, channel), f"name of {person}", text))
    store.save_reply(number, revision, f"You say {text}", None, {"seed": number, "note": text})
    store.mark_sent(number, 0, number + 1_000_000)
    store.answers.add(number, revision, f"Again: {text}", None, {"seed": number})


def chat_of(store: Store, settings: Settings, engine: ScriptedEngine | None = None) -> tuple[Chat, Privacy]:
    chat = Chat(store, engine or ScriptedEngine(lambda request: f"You say {request.dialogue[-1].text}"), settings)
    return chat, Privacy(store, chat, settings.retention_days)


def rows(database: str | Path) -> str:
    """Every value of every table, of a database by its URL or of an SQLite file."""
    url = f"sqlite:///{database}" if isinstance(database, Path) else database
    return repr(rows_of(url, *(f"SELECT * FROM {table}" for table in Base.metadata.tables)))


def files_with(folder: Path, word: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


@pytest.fixture
def lived(store: Store) -> Store:
    """A database in which two people talked and edited, so that SQLite had to move rows from page to page."""
    revision, other = seat_vera(store), seat_vera(store, CHANNEL + 1)
    chance = random.Random(2)
    for number in range(1, 301):
        person = GUS if number % 2 else OLIVE
        word = CANARY if person == GUS else "kept"
        say(store, number, person, f"{word} {number} " * (number % 23 + 1), revision if number % 3 else other)
        if number > 2:
            earlier = chance.randrange(3, number + 1)
            word = CANARY if earlier % 2 else "kept"
            store.answers.rephrase(earlier, f"{word} {earlier} " * chance.randint(1, 150))
    return store

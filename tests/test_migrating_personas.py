"""A database from before personas belonged to servers: who talked goes on talking, with what was said."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store import schema
from persona_chat.store.database import open_database
from persona_chat.store.store import Store

pytestmark = pytest.mark.both_databases

SERVER, OTHER_SERVER, GUS = 50, 60, 7
SINCE = "2026-11-01 12:00:00.000000"

WORDS = {
    1: ("David", "A gardener."),
    2: ("David", "A gardener with dogs."),
    3: ("Vera", "A keeper."),
    4: ("david", "Another one, in another channel."),
    5: ("Nobody", "Set once, and never talked to."),
}
CHANNELS = {
    100: (SERVER, 2),
    101: (SERVER, 4),
    102: (SERVER, 2),
    103: (SERVER, None),
    200: (OTHER_SERVER, 2),
    300: (None, 3),
}
SAID = [(100, 1), (100, 3), (100, 2), (101, 4), (103, 3), (200, 1), (200, 2), (300, 3)]
"""Channels of answered messages, and the words that answered."""


def fill(url: str) -> None:
    personas = [
        {"id": row, "name": name, "about": about, "facts": json.dumps([f"I am number {row}."]), "at": SINCE}
        for row, (name, about) in WORDS.items()
    ]
    channels = [
        {"id": channel, "guild": guild, "persona": row, "at": SINCE} for channel, (guild, row) in CHANNELS.items()
    ]
    said = [
        {"id": id_, "message": 1000 + id_, "channel": channel, "gus": GUS, "persona": row, "at": SINCE}
        | {"question": f"question {id_}", "answer": f"answer {id_}"}
        for id_, (channel, row) in enumerate(SAID, 1)
    ]
    engine = create_engine(url)
    with engine.begin() as connection:
        for sql, rows in (
            (
                "INSERT INTO personas (id, name, about, facts, created_at) VALUES (:id, :name, :about, :facts, :at)",
                personas,
            ),
            (
                "INSERT INTO channels (id, guild_id, persona_id, updated_at) VALUES (:id, :guild, :persona, :at)",
                channels,
            ),
            (
                "INSERT INTO messages (id, message_id, channel_id, speaker_id, speaker_name, text, state, claimed_at) "
                "VALUES (:id, :message, :channel, :gus, 'Gus', :question, 'answered', :at)",
                said,
            ),
            (
                "INSERT INTO replies (message_id, persona_id, text, created_at) VALUES (:id, :persona, :answer, :at)",
                said,
            ),
        ):
            connection.execute(text(sql), rows)
    engine.dispose()


@pytest.fixture
def upgraded(empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A database of the third revision, with what WORDS, CHANNELS and SAID hold, brought up to date."""
    url = empty_database_url
    earlier = tmp_path / "earlier" / "migrations"
    shutil.copytree(
        schema.migrations_folder(), earlier, ignore=shutil.ignore_patterns("__pycache__", "000[4-9]*", "00[1-9]*")
    )
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations_folder", lambda: earlier)
        assert schema.upgrade(url).after == "0003"
    fill(url)
    schema.upgrade(url)
    store = Store(open_database(url))
    yield store
    store.close()


def talk(store: Store, channel_id: int, guild_id: int | None = SERVER) -> tuple[Persona | None, list[str]]:
    seated, past = store.talk(Place(channel_id, GUS, guild_id), 100)
    return (seated.persona if seated else None), [turn.text for turn in past if turn.text.startswith("answer")]


def words(row: int, name: str | None = None) -> Persona:
    return Persona(name or WORDS[row][0], WORDS[row][1], (f"I am number {row}.",))


def test_every_channel_goes_on_with_its_persona_and_what_was_said(upgraded: Store) -> None:
    assert talk(upgraded, 100) == (words(2), ["answer 1", "answer 3"])
    assert talk(upgraded, 102) == (words(2), [])
    assert talk(upgraded, 103) == (None, [])
    assert talk(upgraded, 200, OTHER_SERVER) == (words(2), ["answer 6", "answer 7"])
    assert talk(upgraded, 300, None) == (words(3), ["answer 8"])


def test_two_of_one_name_in_a_server_both_stay(upgraded: Store) -> None:
    assert talk(upgraded, 101) == (words(4, "david 2"), ["answer 4"])
    names = [kept.persona.name for kept in upgraded.library.list([Spot(Scope.SERVER, SERVER)])]
    assert names == ["David", "david 2", "Vera"]


def test_a_persona_that_had_left_returns_to_what_was_said(upgraded: Store) -> None:
    vera = upgraded.library.named(Spot(Scope.SERVER, SERVER), "vera")
    assert vera is not None
    upgraded.seating.seat(Spot(Scope.CHANNEL, 103), vera.id)
    assert talk(upgraded, 103) == (words(3), ["answer 5"])


def test_direct_messages_have_a_persona_of_that_person(upgraded: Store) -> None:
    assert [kept.persona for kept in upgraded.library.list([Spot(Scope.ME, GUS)])] == [words(3)]


def test_earlier_words_are_revisions(upgraded: Store) -> None:
    david = upgraded.library.named(Spot(Scope.SERVER, SERVER), "David")
    assert david is not None
    assert [(one.number, one.persona) for one in upgraded.library.revisions(david.id)] == [(2, words(2)), (1, words(1))]


def test_what_was_in_a_thread_goes_on_there(upgraded: Store) -> None:
    seated = upgraded.seating.seated(Place(102, GUS, SERVER, parent_id=999))
    assert seated is not None
    assert seated.persona == words(2)


def test_new_personas_get_numbers_of_their_own(upgraded: Store) -> None:
    made = upgraded.library.create(Spot(Scope.SERVER, SERVER), Persona("Nemo", "A captain."), GUS)
    assert upgraded.library.get(made.id) == made
    assert upgraded.library.revisions(made.id)[0].number == 1

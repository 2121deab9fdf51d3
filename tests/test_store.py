"""The store's verbs on a real SQLite file: claimed once, remembered by persona, written once."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from sqlalchemy.exc import SQLAlchemyError

from persona_chat.dialogue import Speaker, Turn
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.store.database import DATABASE, default_url, open_database
from persona_chat.store.store import Store

DAVID = Persona("David", "A gardener.", ("I have two dogs.",))
VERA = Persona("Vera", "", ("I sail.",))
TALK = 1_100_000_000_000_000_001
OTHER = 1_100_000_000_000_000_002
LARGEST_ID = 2**63 - 1


@pytest.fixture
def rows(settings):
    """Reads the file past the store."""

    def read(sql: str) -> list[tuple]:
        with closing(sqlite3.connect(settings.data_dir / DATABASE)) as connection:
            return connection.execute(sql).fetchall()

    return read


def heard(message_id: int, text: str = "Hello.", channel_id: int = TALK) -> Heard:
    return Heard(message_id, channel_id, 7, "Gus", text)


def exchange(store: Store, message_id: int, persona: Persona, channel_id: int = TALK) -> None:
    assert store.claim(heard(message_id, f"question {message_id}", channel_id))
    store.save_reply(message_id, persona, f"answer {message_id}")


def turns(*message_ids: int) -> tuple[Turn, ...]:
    return tuple(
        turn
        for number in message_ids
        for turn in (
            Turn(Speaker.A, f"question {number}", "Gus"),
            Turn(Speaker.B, f"answer {number}"),
        )
    )


def test_a_channel_is_off_until_a_persona_is_set(store):
    assert store.persona(TALK) is None
    assert store.channels_on() == set()
    assert store.set_persona(TALK, DAVID) is None
    assert store.persona(TALK) == DAVID
    assert store.channels_on() == {TALK}


def test_setting_another_persona_returns_the_one_before(store):
    store.set_persona(TALK, DAVID)
    assert store.set_persona(TALK, VERA) == DAVID
    assert store.persona(TALK) == VERA


def test_channels_have_their_own_personas(store):
    store.set_persona(TALK, DAVID)
    store.set_persona(OTHER, VERA)
    assert (store.persona(TALK), store.persona(OTHER)) == (DAVID, VERA)


def test_setting_the_same_persona_twice_changes_nothing(store, rows):
    store.set_persona(TALK, DAVID)
    before = rows("SELECT * FROM personas, channels")
    assert store.set_persona(TALK, DAVID) == DAVID
    assert rows("SELECT * FROM personas, channels") == before


def test_a_changed_persona_is_a_new_revision_and_the_old_one_stays(store, rows):
    store.set_persona(TALK, DAVID)
    store.set_persona(TALK, replace(DAVID, facts=("I have three dogs.",)))
    store.set_persona(TALK, DAVID)
    assert rows("SELECT name, facts FROM personas ORDER BY id") == [
        ("David", '["I have two dogs."]'),
        ("David", '["I have three dogs."]'),
    ]


def test_clearing_turns_the_channel_off_and_keeps_what_was_said(store, rows):
    store.set_persona(TALK, DAVID, guild_id=5)
    exchange(store, 1, DAVID)
    assert store.clear_persona(TALK) == DAVID
    assert store.clear_persona(TALK) is None
    assert store.persona(TALK) is None
    assert store.channels_on() == set()
    assert rows("SELECT count(*) FROM personas, messages, replies") == [(1,)]


def test_clearing_a_channel_that_was_never_on_is_nothing(store):
    assert store.clear_persona(TALK) is None


def test_the_guild_stays_known_when_it_is_not_said_again(store, rows):
    store.set_persona(TALK, DAVID, guild_id=5)
    store.set_persona(TALK, VERA)
    assert rows("SELECT id, guild_id FROM channels") == [(TALK, 5)]


def test_the_largest_ids_that_discord_can_make_fit(store):
    store.set_persona(LARGEST_ID, DAVID, LARGEST_ID)
    assert store.claim(Heard(LARGEST_ID, LARGEST_ID, LARGEST_ID, "Gus", "Hello."))
    store.save_reply(LARGEST_ID, DAVID, "Hi.")
    store.mark_sent(LARGEST_ID, 0, LARGEST_ID)
    assert store.channels_on() == {LARGEST_ID}
    assert len(store.history(LARGEST_ID, 2)) == 2


def test_a_message_is_claimed_by_one_of_many(store):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: store.claim(heard(1)), range(64)))
    assert claims.count(True) == 1


def test_a_claim_outlives_the_process(store, settings):
    assert store.claim(heard(1))
    store.close()
    reopened = Store(open_database(default_url(settings.data_dir)))
    assert not reopened.claim(heard(1))
    reopened.close()


def test_two_hundred_writers_in_two_stores_lose_nothing(store, settings, rows):
    # As two bots would be on one file: what the stores share is SQLite's own lock.
    second = Store(open_database(default_url(settings.data_dir)))

    def say(number: int) -> None:
        exchange((store, second)[number % 2], number, DAVID)
        (store, second)[number % 2].mark_sent(number, 0, number)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(say, range(200)))
    second.close()
    assert rows("SELECT count(*), count(DISTINCT message_id) FROM messages WHERE state = 'answered'") == [(200, 200)]
    assert rows("SELECT count(*), count(DISTINCT reply_id) FROM sent_parts") == [(200, 200)]
    assert rows("SELECT count(*) FROM personas") == [(1,)]
    assert rows("PRAGMA integrity_check") == [("ok",)]


def test_history_is_the_newest_exchanges_oldest_first(store):
    store.set_persona(TALK, DAVID)
    for number in (5, 3, 9, 4):
        exchange(store, number, DAVID)
    assert store.history(TALK, 100) == turns(5, 3, 9, 4)
    assert store.history(TALK, 4) == turns(9, 4)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 0), (2, 2), (3, 2), (6, 4)])
def test_history_has_whole_exchanges_only(store, limit, kept):
    store.set_persona(TALK, DAVID)
    exchange(store, 1, DAVID)
    exchange(store, 2, DAVID)
    assert len(store.history(TALK, limit)) == kept


def test_what_was_not_answered_is_not_in_the_history(store):
    store.set_persona(TALK, DAVID)
    exchange(store, 1, DAVID)
    store.claim(heard(2))
    store.claim(heard(3))
    store.refuse(3, "EngineBusy")
    assert store.history(TALK, 100) == turns(1)


def test_channels_do_not_hear_each_other(store):
    store.set_persona(TALK, DAVID)
    store.set_persona(OTHER, DAVID)
    exchange(store, 1, DAVID)
    exchange(store, 2, DAVID, OTHER)
    assert store.history(TALK, 100) == turns(1)
    assert store.history(OTHER, 100) == turns(2)


def test_a_persona_remembers_what_it_said_itself(store):
    store.set_persona(TALK, DAVID)
    exchange(store, 1, DAVID)
    edited = replace(DAVID, facts=("I have three dogs.",))
    store.set_persona(TALK, edited)
    exchange(store, 2, edited)
    assert store.history(TALK, 100) == turns(1, 2), "an edit keeps the talk"
    store.set_persona(TALK, VERA)
    assert store.history(TALK, 100) == (), "another persona begins its own"
    exchange(store, 3, VERA)
    assert store.history(TALK, 100) == turns(3)
    store.set_persona(TALK, DAVID)
    assert store.history(TALK, 100) == turns(1, 2), "the first one goes on"


def test_a_channel_that_is_off_has_no_history(store):
    store.set_persona(TALK, DAVID)
    exchange(store, 1, DAVID)
    store.clear_persona(TALK)
    assert store.history(TALK, 100) == ()


def test_the_first_reply_stays(store, rows):
    store.set_persona(TALK, DAVID)
    store.claim(heard(1))
    store.save_reply(1, DAVID, "First.", adapter="2026-11-24")
    store.save_reply(1, VERA, "Second.")
    assert rows("SELECT text, adapter FROM replies") == [("First.", "2026-11-24")]
    assert rows("SELECT state FROM messages") == [("answered",)]


def test_a_reply_belongs_to_the_persona_that_gave_it_though_it_was_cleared_meanwhile(store, rows):
    store.set_persona(TALK, DAVID)
    store.claim(heard(1))
    store.clear_persona(TALK)
    store.save_reply(1, DAVID, "Hi.")
    assert rows("SELECT name FROM replies JOIN personas ON personas.id = persona_id") == [("David",)]
    assert store.persona(TALK) is None


def test_a_reply_to_a_message_that_was_never_claimed_is_a_mistake(store, rows):
    with pytest.raises(LookupError, match="never claimed"):
        store.save_reply(1, DAVID, "Hi.")
    assert rows("SELECT * FROM replies") == []


def test_a_refusal_keeps_its_first_reason_and_nothing_of_what_was_said(store, rows):
    store.claim(heard(1))
    store.refuse(1, "EngineBusy")
    store.refuse(1, "ReplyTimeout")
    assert rows("SELECT state, reason FROM messages") == [("refused", "EngineBusy")]
    assert rows("SELECT text, speaker_name FROM messages") == [("", "")]


def test_an_answered_message_stays_answered(store, rows):
    exchange(store, 1, DAVID)
    store.refuse(1, "EngineFailed")
    assert rows("SELECT state, reason FROM messages") == [("answered", None)]


def test_each_part_of_a_reply_is_noted_once(store, rows):
    exchange(store, 1, DAVID)
    store.mark_sent(1, 0, 90)
    store.mark_sent(1, 1, 91)
    store.mark_sent(1, 1, 92)
    assert rows("SELECT part, sent_id FROM sent_parts ORDER BY part") == [(0, 90), (1, 91)]


def test_a_part_of_a_reply_that_was_never_saved_is_a_mistake(store):
    store.claim(heard(1))
    with pytest.raises(LookupError, match="no reply"):
        store.mark_sent(1, 0, 90)


def test_texts_come_back_as_they_were(store):
    text = 'Grüße 🐕\n\t\'; DROP TABLE messages; -- "%s" :name ?'
    persona = Persona(text, text, (text, text))
    store.set_persona(TALK, persona)
    store.claim(replace(heard(1, text), speaker_name=text))
    store.save_reply(1, persona, text)
    assert store.persona(TALK) == persona
    assert store.history(TALK, 2) == (Turn(Speaker.A, text, text), Turn(Speaker.B, text))


def test_no_text_is_in_the_errors_of_a_broken_database(store, settings):
    store.claim(heard(1))
    with closing(sqlite3.connect(settings.data_dir / DATABASE)) as connection:
        connection.execute("ALTER TABLE messages RENAME TO gone")
        connection.execute("ALTER TABLE personas RENAME TO gone_too")
    canary = "the canary sings at dawn"
    with pytest.raises(SQLAlchemyError) as claiming:
        store.claim(heard(2, canary))
    with pytest.raises(SQLAlchemyError) as setting:
        store.set_persona(TALK, Persona(canary, canary, (canary,)))
    assert canary not in f"{claiming.value!r} {claiming.value} {setting.value!r} {setting.value}"

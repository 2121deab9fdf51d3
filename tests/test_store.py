"""What is said and answered, on real databases: claimed once, remembered by persona, written once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.exc import SQLAlchemyError

from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.database import open_database
from persona_chat.store.store import Store
from tests.postgres import rows_of

pytestmark = pytest.mark.both_databases

DAVID = Persona("David", "A gardener.", ("I have two dogs.",))
VERA = Persona("Vera", "", ("I sail.",))
TALK = 1_100_000_000_000_000_001
OTHER = 1_100_000_000_000_000_002
LARGEST_ID = 2**63 - 1
SERVER = Spot(Scope.SERVER, 5)


@pytest.fixture
def rows(database_url):
    """Reads past the store."""
    return lambda sql: rows_of(database_url, sql)


def at(channel_id: int) -> Place:
    return Place(channel_id, 7, SERVER.id)


def heard(message_id: int, text: str = "Hello.", channel_id: int = TALK) -> Heard:
    return Heard(message_id, at(channel_id), "Gus", text)


def put(store: Store, persona: Persona, channel_id: int = TALK) -> int:
    """Let the persona talk in the channel; return what its replies are saved under."""
    store.seating.put(Spot(Scope.CHANNEL, channel_id), SERVER, persona)
    seated = store.seating.seated(at(channel_id))
    assert seated is not None
    return seated.revision_id


def history(store: Store, limit: int, channel_id: int = TALK) -> Dialogue:
    return store.talk(at(channel_id), limit)[1]


def exchange(store: Store, message_id: int, revision_id: int, channel_id: int = TALK) -> None:
    assert store.claim(heard(message_id, f"question {message_id}", channel_id))
    store.save_reply(message_id, revision_id, f"answer {message_id}")


def turns(*message_ids: int) -> tuple[Turn, ...]:
    return tuple(
        turn
        for number in message_ids
        for turn in (
            Turn(Speaker.A, f"question {number}", "Gus"),
            Turn(Speaker.B, f"answer {number}"),
        )
    )


def test_the_largest_ids_that_discord_can_make_fit(store):
    place = Place(LARGEST_ID, LARGEST_ID, LARGEST_ID)
    store.seating.put(Spot(Scope.CHANNEL, LARGEST_ID), place.home, DAVID, LARGEST_ID)
    seated = store.seating.seated(place)
    assert store.claim(Heard(LARGEST_ID, place, "Gus", "Hello."))
    store.save_reply(LARGEST_ID, seated.revision_id, "Hi.")
    store.mark_sent(LARGEST_ID, 0, LARGEST_ID)
    assert set(store.seating.spots()) == {Spot(Scope.CHANNEL, LARGEST_ID)}
    assert len(store.talk(place, 2)[1]) == 2


def test_a_message_is_claimed_by_one_of_many(store):
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: store.claim(heard(1)), range(64)))
    assert claims.count(True) == 1


def test_a_claim_outlives_the_process(store, database_url):
    assert store.claim(heard(1))
    store.close()
    reopened = Store(open_database(database_url))
    assert not reopened.claim(heard(1))
    reopened.close()


def test_two_hundred_writers_in_two_stores_lose_nothing(store, database_url, rows):
    # As two bots would be: what the stores share is the database's own locks.
    second = Store(open_database(database_url))
    revision = put(store, DAVID)

    def say(number: int) -> None:
        mine = (store, second)[number % 2]
        put(mine, DAVID)
        exchange(mine, number, revision)
        mine.mark_sent(number, 0, number)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(say, range(200)))
    second.close()
    assert rows("SELECT count(*), count(DISTINCT message_id) FROM messages WHERE state = 'answered'") == [(200, 200)]
    assert rows("SELECT count(*), count(DISTINCT reply_id) FROM sent_parts") == [(200, 200)]
    assert rows("SELECT count(*) FROM revisions, personas, seats") == [(1,)]
    if database_url.startswith("sqlite"):
        assert rows("PRAGMA integrity_check") == [("ok",)]


def test_history_is_the_newest_exchanges_oldest_first(store):
    david = put(store, DAVID)
    for number in (5, 3, 9, 4):
        exchange(store, number, david)
    assert history(store, 100) == turns(5, 3, 9, 4)
    assert history(store, 4) == turns(9, 4)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 0), (2, 2), (3, 2), (6, 4)])
def test_history_has_whole_exchanges_only(store, limit, kept):
    david = put(store, DAVID)
    exchange(store, 1, david)
    exchange(store, 2, david)
    assert len(history(store, limit)) == kept


def test_what_was_not_answered_is_not_in_the_history(store):
    david = put(store, DAVID)
    exchange(store, 1, david)
    store.claim(heard(2))
    store.claim(heard(3))
    store.refuse(3, "EngineBusy")
    assert history(store, 100) == turns(1)


def test_channels_do_not_hear_each_other(store):
    revision = put(store, DAVID)
    assert put(store, DAVID, OTHER) == revision
    exchange(store, 1, revision)
    exchange(store, 2, revision, OTHER)
    assert history(store, 100) == turns(1)
    assert history(store, 100, OTHER) == turns(2)


def test_a_persona_remembers_what_it_said_itself(store):
    david = put(store, DAVID)
    exchange(store, 1, david)
    edited = replace(DAVID, facts=("I have three dogs.",))
    changed = put(store, edited)
    exchange(store, 2, changed)
    assert history(store, 100) == turns(1, 2), "an edit keeps the talk"
    vera = put(store, VERA)
    assert history(store, 100) == (), "another persona begins its own"
    exchange(store, 3, vera)
    assert history(store, 100) == turns(3)
    put(store, DAVID)
    assert history(store, 100) == turns(1, 2), "the first one goes on"


def test_a_channel_that_is_off_has_no_history(store):
    david = put(store, DAVID)
    exchange(store, 1, david)
    store.seating.unseat(Spot(Scope.CHANNEL, TALK))
    assert history(store, 100) == ()


def test_the_first_reply_stays(store, rows):
    david = put(store, DAVID)
    store.claim(heard(1))
    store.save_reply(1, david, "First.", adapter="2026-11-24")
    store.save_reply(1, put(store, VERA), "Second.")
    assert rows("SELECT text, adapter FROM replies") == [("First.", "2026-11-24")]
    assert rows("SELECT state FROM messages") == [("answered",)]


def test_a_reply_belongs_to_the_persona_that_gave_it_though_it_was_cleared_meanwhile(store, rows):
    david = put(store, DAVID)
    store.claim(heard(1))
    store.seating.unseat(Spot(Scope.CHANNEL, TALK))
    store.save_reply(1, david, "Hi.")
    assert rows("SELECT name FROM replies JOIN revisions ON revisions.id = revision_id") == [("David",)]
    assert store.seating.seated(at(TALK)) is None


def test_a_reply_to_a_message_that_was_never_claimed_is_a_mistake(store, rows):
    with pytest.raises(LookupError, match="never claimed"):
        store.save_reply(1, 1, "Hi.")
    assert rows("SELECT * FROM replies") == []


def test_a_refusal_keeps_its_first_reason_and_nothing_of_what_was_said(store, rows):
    store.claim(heard(1))
    store.refuse(1, "EngineBusy")
    store.refuse(1, "ReplyTimeout")
    assert rows("SELECT state, reason FROM messages") == [("refused", "EngineBusy")]
    assert rows("SELECT text, speaker_name FROM messages") == [("", "")]


def test_an_answered_message_stays_answered(store, rows):
    exchange(store, 1, put(store, DAVID))
    store.refuse(1, "EngineFailed")
    assert rows("SELECT state, reason FROM messages") == [("answered", None)]


def test_each_part_of_a_reply_is_noted_once(store, rows):
    exchange(store, 1, put(store, DAVID))
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
    revision = put(store, persona)
    store.claim(replace(heard(1, text), speaker_name=text))
    store.save_reply(1, revision, text)
    assert store.seating.seated(at(TALK)).persona == persona
    assert history(store, 2) == (Turn(Speaker.A, text, text), Turn(Speaker.B, text))


def test_no_text_is_in_the_errors_of_a_broken_database(store, database_url):
    store.claim(heard(1))
    rows_of(database_url, "ALTER TABLE messages RENAME TO gone")
    rows_of(database_url, "ALTER TABLE personas RENAME TO gone_too")
    canary = "the canary sings at dawn"
    with pytest.raises(SQLAlchemyError) as claiming:
        store.claim(heard(2, canary))
    with pytest.raises(SQLAlchemyError) as setting:
        put(store, Persona(canary, canary, (canary,), canary))
    assert canary not in f"{claiming.value!r} {claiming.value} {setting.value!r} {setting.value}"


@pytest.mark.parametrize("odd", ["a\0b", "\0", "half \ud83d of it", "\udc00"])
def test_what_no_database_can_keep_is_left_out_and_the_rest_stays(store, odd):
    revision = put(store, Persona(f"Vera{odd}", odd, (odd,), odd))
    assert store.claim(replace(heard(1, f"so {odd}"), speaker_name=f"G{odd}"))
    store.save_reply(1, revision, f"well {odd}", None, {"note": odd})
    kept = odd.replace("\0", "").encode("utf-8", "replace").decode()
    assert history(store, 2) == (Turn(Speaker.A, f"so {kept}", f"G{kept}"), Turn(Speaker.B, f"well {kept}"))

"""What people said is encrypted in the database: what lies in the file, and what is read from it."""

from dataclasses import replace

import pytest
from sqlalchemy import select, text

from persona_chat.errors import KeyMissing, SettingsError, WordsUnreadable
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.database import default_url, open_database
from persona_chat.store.feedback import Thumb
from persona_chat.store.keys import NO_KEYS, Keys, new_key, read_keys
from persona_chat.store.schema import upgrade
from persona_chat.store.sealing import is_done, seal_all, see_that_keys_are_there
from persona_chat.store.store import Store
from persona_chat.store.tables import Base
from persona_chat.store.tables.spoken import Spoken, SpokenList

CANARY = "the canary sings at dawn"
WHERE = Place(channel_id=7, person_id=5, guild_id=3)


@pytest.fixture
def keys():
    return Keys([new_key()])


def test_words_come_back_as_they_were(keys):
    for words in ("a", CANARY, "ß 🐦 \ud83d", "enc1:", "enc1:plain:x", f"{keys.begin}AAAA", "x" * 4000):
        sealed = keys.seal(words, "messages.text")
        assert sealed.startswith(keys.begin)
        assert keys.open(sealed, "messages.text") == words
        plain = NO_KEYS.seal(words, "messages.text")
        assert NO_KEYS.open(plain, "messages.text") == keys.open(plain, "messages.text") == words


def test_the_same_words_never_look_the_same(keys):
    assert len({keys.seal(CANARY, "messages.text") for _ in range(100)}) == 100


def test_no_words_stay_no_words(keys):
    assert keys.seal("", "messages.text") == ""
    assert keys.open("", "messages.text") == ""


def test_words_are_bound_to_their_column(keys):
    sealed = keys.seal(CANARY, "messages.text")
    with pytest.raises(WordsUnreadable, match=r"replies\.text"):
        keys.open(sealed, "replies.text")


def test_changed_words_are_refused(keys):
    sealed = keys.seal("hello", "messages.text")
    for place in range(len(keys.begin), len(sealed)):
        for other in ("A", "B", "*"):
            changed = sealed[:place] + other + sealed[place + 1 :]
            if changed != sealed and sealed[place] != "=":
                with pytest.raises(WordsUnreadable):
                    keys.open(changed, "messages.text")
    for short in (keys.begin, sealed[:-8], keys.begin + "AAAA"):
        with pytest.raises(WordsUnreadable):
            keys.open(short, "messages.text")


def test_without_the_key_it_is_said_which_one_is_missing(keys):
    sealed = keys.seal(CANARY, "messages.text")
    for others in (NO_KEYS, Keys([new_key()])):
        with pytest.raises(KeyMissing, match=keys.all[0].id):
            others.open(sealed, "messages.text")


def test_keys_are_never_shown(keys):
    assert keys.all[0].line not in repr(keys.all[0])
    assert repr(keys.all[0].secret) not in repr(keys.all[0])
    for text_ in ("", "# nothing", "not a key", new_key().line[:-8], f"{new_key().line}\nrubbish"):
        with pytest.raises(SettingsError, match="the file key holds something that is no key") as caught:
            read_keys(text_, "the file key")
        assert not text_ or text_ not in str(caught.value)


def test_keys_are_read_from_lines_and_commas():
    first, second = new_key(), new_key()
    assert read_keys(f"{first.line} # the newest\n\n# older\n{second.line}\n", "here") == (first, second)
    assert read_keys(f"{first.line},{second.line}", "here") == (first, second)


def url_of(folder):
    return default_url(folder / "data")


def opened(url, keys):
    upgrade(url)
    return open_database(url, keys)


def fill(engine, count=1):
    """Words in every column that holds some."""
    store = Store(engine)
    store.seating.put(Spot(Scope.CHANNEL, 7), Spot(Scope.SERVER, 3), Persona("Vera", "I keep a lighthouse."), 5)
    seated = store.seating.seated(WHERE)
    for number in range(1, 10 * count, 10):
        parts = [Heard(number + part, WHERE, f"name {CANARY}", f"said {part} {CANARY}") for part in range(2)]
        whole = Heard(parts[1].message_id, WHERE, parts[1].speaker_name, " ".join(part.text for part in parts))
        assert store.claim(whole, parts)
        store.save_reply(whole.message_id, seated.revision_id, f"answered {CANARY}")
        assert store.feedback.suggest(whole.message_id, 1, 5, f"better {CANARY}")
        assert store.reports.add(3, 7, whole.message_id, 6, f"reason {CANARY}", most=10**6)
    store.memories.keep(7, seated.kept.id, [f"noted {CANARY}"], 5)
    return store


def read(store):
    """All of those words, as the store's verbs give them."""
    seated, talk = store.talk(WHERE, 100)
    answer = store.answers.find(2)
    return (
        [(turn.text, turn.name) for turn in talk],
        [part.text for part in answer.parts],
        (answer.asker_name, answer.asked, answer.version.text),
        store.people.said(5, 10**9, 100)[0].text,
        [given.suggestion for given in store.people.feedback(5)],
        [one.better for one in store.feedback.suggestions(100)],
        [report.reason for report in store.reports.of(6)],
        store.memories.of(7, seated.kept.id),
        [changed.notes for changed in store.memories.by(5)],
    )


def values(engine):
    """What is written in every column of every table that holds words, as it is."""
    found = []
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Spoken | SpokenList):
                query = text(f'SELECT CAST("{column.name}" AS TEXT) FROM {table.name}')
                with engine.begin() as connection:
                    found += [(f"{table.name}.{column.name}", value) for value in connection.scalars(query) if value]
    return found


def files_with(folder, words):
    return [path.name for path in folder.rglob("*") if path.is_file() and words.encode() in path.read_bytes()]


def test_no_word_lies_in_a_file_and_every_verb_reads_it(tmp_path, keys):
    plain = fill(opened(url_of(tmp_path / "plain"), NO_KEYS))
    engine = opened(url_of(tmp_path / "sealed"), keys)
    sealed = fill(engine)
    assert read(sealed) == read(plain)
    assert read(plain)[0][0] == (f"said 0 {CANARY} said 1 {CANARY}", f"name {CANARY}")
    assert {column for column, _ in values(engine)} == {
        *("messages.text", "messages.speaker_name", "messages.parts", "replies.text"),
        *("feedback.suggestion", "reports.reason", "memories.notes"),
    }
    assert all(value.lstrip('"').startswith(keys.begin) for _, value in values(engine))
    assert files_with(tmp_path / "sealed", CANARY) == []
    assert files_with(tmp_path / "plain", CANARY)
    for store in (plain, sealed):
        store.close()


def test_what_is_counted_in_the_database_is_counted_as_before(tmp_path, keys):
    plain, sealed = (
        fill(opened(url_of(tmp_path / name), given), 3) for name, given in (("plain", NO_KEYS), ("sealed", keys))
    )
    for store in (plain, sealed):
        store.refuse(1, "busy")
        store.answers.delete([12])
    assert [replace(store.people.held(5), oldest=None) for store in (sealed,)] == [
        replace(plain.people.held(5), oldest=None)
    ]
    assert sealed.feedback.tallies() == plain.feedback.tallies()
    assert sealed.feedback.take_back(22, 5, Thumb.UP) is None
    assert len(sealed.feedback.suggestions(100)) == len(plain.feedback.suggestions(100))
    assert replace(sealed.people.forget(5)[0], oldest=None) == replace(plain.people.forget(5)[0], oldest=None)
    for store in (plain, sealed):
        store.close()


@pytest.mark.both_databases
def test_forgetting_needs_no_key(database_url, tmp_path, keys):
    fill(opened(database_url, keys)).close()
    without = Store(open_database(database_url, Keys([new_key()])))
    held, clean = without.people.forget(5)
    assert (held.messages, held.replies, held.feedback, clean) == (1, 1, 1, True)
    without.close()


@pytest.mark.both_databases
def test_words_of_before_are_read_and_then_encrypted(database_url, tmp_path, keys):
    store = fill(opened(database_url, NO_KEYS), 3)
    before = read(store)
    store.close()
    engine = open_database(database_url, keys)
    store = Store(engine)
    assert read(store) == before
    assert not is_done(engine, keys)
    # Three messages of two parts, their replies, feedback and reports, and one memory.
    assert seal_all(engine, keys) == 3 * 4 + 1
    assert is_done(engine, keys)
    assert seal_all(engine, keys) == 0
    assert read(store) == before
    assert files_with(tmp_path, CANARY) == []
    store.close()


@pytest.mark.both_databases
def test_words_are_brought_under_another_key_and_back_to_plain(database_url, tmp_path, keys):
    store = fill(opened(database_url, keys), 3)
    before = read(store)
    store.close()
    newer = Keys([new_key(), *keys.all])
    for given in (newer, Keys(newer.all, writes=False)):
        engine = open_database(database_url, given)
        assert seal_all(engine, given) == 13
        assert is_done(engine, given)
        assert read(Store(engine)) == before
        assert all(value.lstrip('"').startswith(given.begin) for _, value in values(engine))
        engine.dispose()
    plain = Store(open_database(database_url))
    assert read(plain) == before
    plain.close()


@pytest.mark.both_databases
def test_a_missing_key_is_noticed_in_every_column(database_url, tmp_path, keys):
    store = fill(opened(database_url, keys))
    store.close()
    engine = open_database(database_url, Keys([new_key()]))
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, Spoken | SpokenList):
                with engine.begin() as connection, pytest.raises(KeyMissing, match=keys.all[0].id):
                    connection.execute(select(column).where(column.is_not(None))).all()
    before = values(engine)
    with pytest.raises(KeyMissing, match=keys.all[0].id):
        seal_all(engine, Keys([new_key()]))
    assert values(engine) == before
    see_that_keys_are_there(engine, keys)
    engine.dispose()


@pytest.mark.both_databases
def test_what_was_moved_to_another_column_is_refused(database_url, tmp_path, keys):
    engine = opened(database_url, keys)
    store = fill(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE replies SET text = (SELECT text FROM messages WHERE parts IS NOT NULL)")
    with pytest.raises(WordsUnreadable, match=r"replies\.text"):
        store.answers.find(2)
    store.close()

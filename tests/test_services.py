"""The one pointer in the database: moves of it are only added, and looking at it changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from persona_chat.errors import DatabaseUnusable
from persona_chat.store import schema
from persona_chat.store.database import DATABASE, default_url, open_database
from persona_chat.store.services import look
from persona_chat.store.store import Store
from tests.postgres import rows_of

pytestmark = pytest.mark.both_databases


def test_nothing_chosen_is_something_else_than_the_plain_base_chosen(store):
    assert store.adapter_in_service() is None
    store.put_in_service(None, "use")
    service = store.adapter_in_service()
    assert service is not None
    assert (service.adapter, service.why) == (None, "use")
    assert abs((datetime.now(UTC) - service.since).total_seconds()) < 60


def test_moves_are_remembered_the_newest_first_and_the_same_again_is_none(store):
    for name in ("one", "two", "two", None, "one"):
        store.put_in_service(name, f"to {name}")
    assert [move.adapter for move in store.services(10)] == ["one", None, "two", "one"]
    assert [move.why for move in store.services(2)] == ["to one", "to None"]


def test_a_move_back_is_made_only_from_where_it_was_refused(store):
    store.put_back("two", "one", "late")
    assert store.services(10) == ()
    store.put_in_service("two", "use")
    store.put_back("two", "one", "refused")
    store.put_back("two", "three", "late")
    assert [move.adapter for move in store.services(10)] == ["one", "two"]


def test_of_many_at_once_one_is_in_service_everywhere(store, database_url):
    other = Store(open_database(database_url))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: (store, other)[number % 2].put_in_service(f"n{number}", "use"), range(40)))
    assert store.adapter_in_service() == other.adapter_in_service()
    assert len(store.services(100)) == 40
    other.close()


def test_a_look_from_outside_finds_it_and_makes_nothing(store, database_url, tmp_path):
    assert look(database_url) is None
    store.put_in_service("one", "use")
    assert look(database_url) == store.adapter_in_service()
    assert look(default_url(tmp_path / "nowhere")) is None
    assert not (tmp_path / "nowhere").exists()


def test_a_database_from_before_there_were_adapters_says_nothing_and_stays_as_it_is(settings, database_url):
    schema.upgrade(database_url)
    rows_of(database_url, "DROP TABLE services")
    file = settings.data_dir / DATABASE
    before = file.read_bytes() if file.exists() else None
    assert look(database_url) is None
    assert (file.read_bytes() if file.exists() else None) == before


def test_a_damaged_database_is_said(settings):
    settings.data_dir.mkdir()
    (settings.data_dir / DATABASE).write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseUnusable, match="damaged"):
        look(default_url(settings.data_dir))

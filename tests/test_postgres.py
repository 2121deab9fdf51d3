"""What only PostgreSQL does: several processes that write, a server that goes away, limits, and its errors' meaning."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from persona_chat.errors import DatabaseUnusable, NameTaken
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store import server
from persona_chat.store.database import explained, for_reading, open_database
from persona_chat.store.store import Store
from tests.postgres import Postgres

SERVER = Spot(Scope.SERVER, 50)
PLACE = Place(100, 7, 50)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    name = postgres.with_all_tables()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def bots(url: str) -> Iterator[tuple[Store, ...]]:
    """Stores that share nothing but the database, as processes would."""
    stores = tuple(Store(open_database(url)) for _ in range(4))
    yield stores
    for store in stores:
        store.close()


def at_once(bots: tuple[Store, ...], act: Callable[[Store, int], object]) -> list[object]:
    barrier = Barrier(len(bots))

    def one(number: int) -> object:
        barrier.wait(timeout=30)
        try:
            return act(bots[number], number)
        except NameTaken as error:
            return error

    with ThreadPoolExecutor(len(bots)) as pool:
        return list(pool.map(one, range(len(bots))))


def test_of_several_bots_one_makes_a_persona_and_the_others_hear_that_the_name_is_taken(
    bots: tuple[Store, ...],
) -> None:
    names = iter(range(40))

    def make(store: Store, number: int) -> object:
        return store.library.create(Spot(Scope.SERVER, next(names) // 4), Persona("Vera", f"{number}"), 1)

    for _ in range(10):
        results = at_once(bots, make)
        assert [type(result).__name__ for result in results].count("NameTaken") == len(bots) - 1


def test_edits_of_several_bots_are_revisions_of_their_own(bots: tuple[Store, ...]) -> None:
    kept = bots[0].library.create(SERVER, Persona("Vera"), 1)
    for attempt in range(10):
        at_once(bots, lambda store, number, a=attempt: store.library.edit(kept.id, Persona("Vera", f"{a} {number}"), 1))
    numbers = [revision.number for revision in bots[0].library.revisions(kept.id)]
    assert numbers == list(range(41, 0, -1))


def test_a_move_back_is_made_by_one_of_several_bots(bots: tuple[Store, ...]) -> None:
    bots[0].put_in_service("bad", "use")
    at_once(bots, lambda store, number: store.put_back("bad", f"good {number}", "refused"))
    assert len(bots[0].services(10)) == 2


def test_a_reader_sees_one_moment_and_waits_for_nobody(engine: Engine, bots: tuple[Store, ...]) -> None:
    with for_reading(engine).begin() as reader, engine.begin() as _writer_who_takes_long:
        assert reader.scalar(text("SELECT count(*) FROM services")) == 0
    with for_reading(engine).begin() as reader:
        before = reader.scalar(text("SELECT count(*) FROM services"))
        bots[0].put_in_service("one", "use")
        assert reader.scalar(text("SELECT count(*) FROM services")) == before
        with pytest.raises(DBAPIError, match="read-only"):
            reader.execute(text("DELETE FROM services"))


def test_a_bot_goes_on_after_the_server_dropped_its_connections(postgres: Postgres, bots: tuple[Store, ...]) -> None:
    store, *_ = bots
    assert store.claim(Heard(1, PLACE, "Gus", "Hello"))
    dropped = postgres.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(datname, 'test_')"
    )
    assert dropped
    assert not store.claim(Heard(1, PLACE, "Gus", "Hello"))
    assert store.claim(Heard(2, PLACE, "Gus", "Hello"))


def lose_the_connection(engine: Engine, meanwhile: Callable[[], object]) -> None:
    """Write in a transaction whose connection the server ends, and go on."""
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO services (why, since) VALUES ('test', now())"))
        number = connection.scalar(text("SELECT pg_backend_pid()"))
        with for_reading(engine).connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:number)"), {"number": number})
        meanwhile()
        connection.execute(text("SELECT 1"))


def test_a_connection_that_is_lost_while_writing_is_said_leaves_nothing_and_lets_others_write(
    engine: Engine, bots: tuple[Store, ...]
) -> None:
    claims: list[bool] = []
    with pytest.raises(DatabaseUnusable, match="cannot be reached"), explained(None):
        lose_the_connection(engine, lambda: claims.append(bots[0].claim(Heard(1, PLACE, "Gus", "Hello"))))
    assert claims == [True], "the write lock went with the connection"
    assert bots[0].services(10) == ()


def test_every_connection_has_limits(engine: Engine) -> None:
    with for_reading(engine).connect() as connection:
        found = {
            name: connection.scalar(text(f"SELECT setting FROM pg_settings WHERE name = '{name}'"))
            for name in server.LIMITS
        }
    assert found == {name: str(value) for name, value in server.LIMITS.items()}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(60)", "waiting too long"),
        ("SET LOCAL transaction_read_only = on; DELETE FROM services", "only lets us read"),
        ("SET LOCAL ROLE pg_monitor; DELETE FROM services", "only lets us read"),
    ],
)
def test_what_a_person_can_mend_is_said(engine: Engine, statement: str, message: str) -> None:
    with pytest.raises(DatabaseUnusable, match=message), explained(None), engine.begin() as connection:
        connection.execute(text(statement))


def test_who_waits_for_the_write_lock_too_long_is_told_that_another_holds_it(engine: Engine) -> None:
    with engine.begin() as _holder, engine.connect() as waiting:
        waiting.detach()
        waiting.connection.dbapi_connection.execute("SET lock_timeout = 10")
        with pytest.raises(DatabaseUnusable, match="another program holds a lock"), explained(None):
            waiting.execute(text("SELECT 1"))


def test_our_own_mistakes_are_not_the_servers(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="nowhere"), explained(None), engine.begin() as connection:
        connection.execute(text("SELECT * FROM nowhere"))


def test_a_server_that_is_not_there_is_said_without_the_password(postgres: Postgres) -> None:
    url = f"postgresql+psycopg://bot:secret@/none?host={postgres.folder}/nowhere"
    with pytest.raises(DatabaseUnusable, match="cannot be reached") as caught:
        open_database(url)
    assert "secret" not in f"{caught.value}"

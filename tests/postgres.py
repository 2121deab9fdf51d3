"""A PostgreSQL server of the tests' own, and a new database for each test, there or in an SQLite file."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as from_0
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from persona_chat.settings import Settings
from persona_chat.store.database import default_url
from persona_chat.store.schema import upgrade
from tests.torture import count

BOTH = "both_databases"
SQLITE_ONLY = "sqlite_only"
ALL_TABLES = "all_tables"

CONF = """
listen_addresses = ''
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
max_connections = 60
"""


class Postgres:
    """A running server, reached by a socket in its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = from_0()
        self._admin = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")

    def url(self, name: str) -> str:
        place = {"host": str(self.folder)}
        return URL.create("postgresql+psycopg", "postgres", database=name, query=place).render_as_string()

    def new_database(self, template: str = "template1") -> str:
        """Make a database; return its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def with_all_tables(self) -> str:
        """Make a database that is up to date; the migrations run once, the rest are copies."""
        if not self.rows(f"SELECT 1 FROM pg_database WHERE datname = '{ALL_TABLES}'"):
            self.run(f"CREATE DATABASE {ALL_TABLES}")
            upgrade(self.url(ALL_TABLES))
        return self.new_database(ALL_TABLES)

    def call(self, program: str, *arguments: str) -> None:
        """Run a program that asks the server, such as pg_dump."""
        command = [program, f"--host={self.folder}", "--username=postgres", *arguments]
        subprocess.run(command, check=True, timeout=60)

    def drop(self, name: str) -> None:
        self.run(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, sql: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(sql)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with self._admin.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]

    def close(self) -> None:
        self._admin.dispose()


def on_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def kind_of(url: str) -> str:
    """The kind of a database, as figures name it."""
    return make_url(url).get_backend_name()


def only_whole_on_a_server(url: str) -> None:
    """Leave out a test that takes long where it runs a second time, but for `make torture`."""
    if not on_sqlite(url) and not count(0, 1):
        pytest.skip("on PostgreSQL in `make torture`: it takes long")


def rows_of(url: str, *statements: str, **values: object) -> list[tuple[object, ...]]:
    """Run statements past the store and commit them; return the rows of those that have any."""
    engine = create_engine(url)
    with engine.begin() as connection:
        results = [connection.execute(text(sql), values) for sql in statements]
        found = [tuple(row) for result in results if result.returns_rows for row in result]
    engine.dispose()
    return found


def _programs() -> Path | None:
    """Where initdb and pg_ctl lie: on the path, or where Debian keeps them, the newest version."""
    on_path = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = Path(on_path) if on_path else (versions[-1] if versions else None)
    return found.parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    programs = _programs()
    if programs is None:
        missing = "PostgreSQL is not installed (apt-get install postgresql)"
        if os.environ.get("PERSONA_CHAT_TESTS_NEED_POSTGRES"):
            pytest.fail(missing)
        pytest.skip(missing)
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    # initdb and the server refuse to be root.
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        subprocess.run(command, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=60)

    call("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale")
    with (folder / "data" / "postgresql.conf").open("a") as conf:
        conf.write(f"{CONF}unix_socket_directories = '{folder}'\n")
    call("pg_ctl", "start", "--wait", "--silent", "--log", str(folder / "log"))
    server = Postgres(folder)
    yield server
    server.close()
    call("pg_ctl", "stop", "--mode=immediate", "--silent")
    shutil.rmtree(folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever has the mark runs on both databases; the others on SQLite."""
    marked = metafunc.definition.get_closest_marker
    if marked(BOTH) and not marked(SQLITE_ONLY):
        for fixture in ("database_url", "empty_database_url"):
            if fixture in metafunc.fixturenames:
                metafunc.parametrize(fixture, ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """A database for `upgrade`; on PostgreSQL that finds it up to date."""
    with _database(request, settings, Postgres.with_all_tables) as url:
        yield url


@pytest.fixture
def empty_database_url(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """A database without tables."""
    with _database(request, settings, Postgres.new_database) as url:
        yield url


@contextmanager
def _database(request: pytest.FixtureRequest, settings: Settings, make: Callable[[Postgres], str]) -> Iterator[str]:
    if getattr(request, "param", "sqlite") == "sqlite":
        yield default_url(settings.data_dir)
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = make(server)
    yield server.url(name)
    server.drop(name)

"""Upgrades that are killed before each of their statements: nothing is lost, and they can simply be repeated."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command

from persona_chat.store import schema
from tests.killed_upgrades import held
from tests.postgres import kind_of, rows_of
from tests.test_migrating_personas import SAID, fill
from tests.torture import count, record

STRIDE = count(25, 1)
"""Before every one in `make torture`; here before some of them, and before the last."""

pytestmark = [pytest.mark.both_databases, pytest.mark.timeout(count(300, 3000))]


def killed_upgrades(url: str, folder: Path, what: str) -> list[dict]:
    folder.mkdir()
    command_line = [sys.executable, "-m", "tests.killed_upgrades", url, str(folder), "1", str(STRIDE)]
    done = subprocess.run(command_line, stdout=subprocess.PIPE, text=True, check=True)
    *killed, whole = map(json.loads, done.stdout.splitlines())
    assert all(one["killed"] for one in killed)
    assert not whole["killed"]
    assert len(killed) >= 5
    for one in killed:
        assert one["at_last"] == whole["at_last"]
        assert not one["after_kill"]["wrong"]
    assert not whole["at_last"]["wrong"]
    database = kind_of(url)
    record(f"B5 {what}", database=database, killed=len(killed), repeated=len(killed), stride=STRIDE)
    return [*killed, whole]


@pytest.fixture
def third(empty_database_url: str) -> str:
    """A database of the third revision, with rows in every table that later revisions change."""
    with schema._opened(empty_database_url) as engine, schema._locked(engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    fill(empty_database_url)
    # Each has the id of its message.
    rows_of(empty_database_url, "INSERT INTO sent_parts (reply_id, part, sent_id) SELECT id, 0, id FROM replies")
    return empty_database_url


def test_an_upgrade_of_a_database_with_rows(third: str, tmp_path: Path) -> None:
    before = held(third)
    outcomes = killed_upgrades(third, tmp_path / "copies", "with rows")
    for one in outcomes[:-1]:
        assert one["after_kill"]["revision"] == ["0003"]
        assert one["after_kill"]["rows"] == before["rows"]
        assert one["at_last"]["rows"]["messages"] == len(SAID)
        assert one["at_last"]["rows"]["replies"] == len(SAID)
        assert one["at_last"]["rows"]["sent_parts"] == len(SAID)


def test_the_first_upgrade_of_all(empty_database_url: str, tmp_path: Path) -> None:
    for one in killed_upgrades(empty_database_url, tmp_path / "copies", "from nothing")[:-1]:
        assert one["after_kill"] == {"revision": None, "rows": {}, "wrong": False}

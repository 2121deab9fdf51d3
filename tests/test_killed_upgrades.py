"""Upgrades that are killed before each of their statements: nothing is lost, and they can simply be repeated."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from persona_chat.store import schema
from persona_chat.store.database import DATABASE, default_url
from tests.killed_upgrades import held
from tests.test_migrating_personas import CHANNELS, GUS, SAID, SINCE, WORDS
from tests.torture import count, record

STRIDE = count(30, 1)
"""Before every one in `make torture`; here before some of them, and before the last."""


def killed_upgrades(file: Path, folder: Path) -> list[dict]:
    folder.mkdir()
    command_line = [sys.executable, "-m", "tests.killed_upgrades", str(file), str(folder), "1", str(STRIDE)]
    done = subprocess.run(command_line, stdout=subprocess.PIPE, text=True, check=True)
    *killed, whole = map(json.loads, done.stdout.splitlines())
    assert all(one["killed"] for one in killed)
    assert not whole["killed"]
    assert len(killed) >= 5
    for one in killed:
        assert one["at_last"] == whole["at_last"]
        assert not one["after_kill"]["wrong"]
    assert not whole["at_last"]["wrong"]
    record("B5", database="sqlite", killed=len(killed), repeated=len(killed), stride=STRIDE)
    return [*killed, whole]


@pytest.fixture
def third(tmp_path: Path) -> Path:
    """A database of the third revision, with rows in every table that later revisions change."""
    url = default_url(tmp_path / "third")
    with schema._opened(url) as engine, schema._locked(engine) as connection:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    file = tmp_path / "third" / DATABASE
    with closing(sqlite3.connect(file)) as connection, connection:
        for row, (name, about) in WORDS.items():
            values = (row, name, about, json.dumps(["I am one."]), SINCE)
            connection.execute(
                "INSERT INTO personas (id, name, about, facts, created_at) VALUES (?, ?, ?, ?, ?)", values
            )
        for channel, rest in CHANNELS.items():
            connection.execute(
                "INSERT INTO channels (id, guild_id, persona_id, updated_at) VALUES (?, ?, ?, ?)",
                (channel, *rest, SINCE),
            )
        for number, (channel, row) in enumerate(SAID, 1):
            connection.execute(
                "INSERT INTO messages (id, message_id, channel_id, speaker_id, speaker_name, text, state, claimed_at) "
                "VALUES (?, ?, ?, ?, 'Gus', 'Hello', 'answered', ?)",
                (number, 1000 + number, channel, GUS, SINCE),
            )
            connection.execute(
                "INSERT INTO replies (id, message_id, persona_id, text, created_at) VALUES (?, ?, ?, 'Hi', ?)",
                (number, number, row, SINCE),
            )
            connection.execute("INSERT INTO sent_parts (reply_id, part, sent_id) VALUES (?, 0, ?)", (number, number))
    return file


def test_an_upgrade_of_a_database_with_rows(third: Path, tmp_path: Path) -> None:
    before = held(third)
    outcomes = killed_upgrades(third, tmp_path / "copies")
    for one in outcomes[:-1]:
        assert one["after_kill"]["revision"] == ["0003"]
        assert one["after_kill"]["rows"] == before["rows"]
        assert one["at_last"]["rows"]["messages"] == len(SAID)
        assert one["at_last"]["rows"]["replies"] == len(SAID)
        assert one["at_last"]["rows"]["sent_parts"] == len(SAID)


def test_the_first_upgrade_of_all(tmp_path: Path) -> None:
    for one in killed_upgrades(tmp_path / "none", tmp_path / "copies")[:-1]:
        assert one["after_kill"] == {"revision": None, "rows": {}, "wrong": False}

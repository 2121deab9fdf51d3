"""A database that is locked or full for a while costs no answer, and nothing is said without being kept before."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from persona_chat import keeping
from persona_chat.chat import Chat
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store import database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.people import place, rows, seat_vera

CHANNEL = 100


@asynccontextmanager
async def thinking(_persona: Persona) -> AsyncIterator[None]:
    yield


def heard(message_id: int, text: str = "Hello!") -> Heard:
    return Heard(message_id, place(), "Gus", text)


async def answered(store: Store, settings: Settings, *messages: Heard) -> list[str]:
    """What was said to these, one after the other."""
    chat = Chat(store, ScriptedEngine(lambda asked: f"heard {asked.dialogue[-1].text}"), settings)
    said: list[str] = []

    async def deliver(_persona: Persona, reply: str) -> AsyncIterator[int]:
        said.append(reply)
        yield 9000 + len(said)

    for message in messages:
        await chat.answer(message, addressed=True, thinking=thinking, deliver=deliver)
    return said


def failing(monkeypatch: pytest.MonkeyPatch, verb: str, times: int) -> None:
    """Let a verb of the store fail so often, as it does on a full disk."""
    done, left = getattr(Store, verb), [times]

    def full(self: Store, *given: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OperationalError("INSERT …", {}, sqlite3.OperationalError("database or disk is full"))
        return done(self, *given, **more)

    monkeypatch.setattr(Store, verb, full)


@pytest.mark.parametrize("verb", ["claim", "save_reply", "mark_sent"])
async def test_a_full_disk_costs_no_answer(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_S", 0.01)
    seat_vera(store)
    failing(monkeypatch, verb, 3)
    assert await answered(store, settings, heard(1), heard(1), heard(2, "And you?")) == [
        "heard Hello!",
        "heard And you?",
    ]
    assert store.inbox.known([1, 2]) == {1, 2}
    answer = store.answers.find(1)
    assert answer is not None
    assert answer.sent == (9001,)


async def test_it_is_not_waited_for_ever(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PAUSE_S", 0.01)
    monkeypatch.setattr(keeping, "TOO_OLD", keeping.TOO_OLD * 0)
    seat_vera(store)
    failing(monkeypatch, "claim", 10**6)
    with pytest.raises(OperationalError):
        await answered(store, settings, heard(1))


async def test_what_another_program_locks_is_written_afterwards(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_S", 0.05)
    monkeypatch.setitem(database.PRAGMAS, "busy_timeout", "50")
    url = database.default_url(tmp_path)
    upgrade(url)
    store = Store(database.open_database(url))
    seat_vera(store)
    tries = [0]
    claim = Store.claim
    with closing(sqlite3.connect(tmp_path / database.DATABASE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")

        def claims(self: Store, *given: Any) -> bool:
            tries[0] += 1
            if tries[0] == 3:
                other.execute("ROLLBACK")
            return claim(self, *given)

        monkeypatch.setattr(Store, "claim", claims)
        assert await answered(store, settings, heard(1)) == ["heard Hello!"]
    store.close()
    assert tries[0] == 3
    assert "heard Hello!" in rows(url)

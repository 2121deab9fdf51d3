"""What was said too long ago is forgotten, with its traces and old backups: on real databases."""

import asyncio
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, update

from bot.run import forgetting, open_core
from persona_chat import privacy as privacy_module
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import PersonaGone
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings, load_settings
from persona_chat.store import backup
from persona_chat.store import forgetting as statements
from persona_chat.store.database import DATABASE
from persona_chat.store.store import Store
from persona_chat.store.tables import Messages
from tests.people import CANARY, CHANNEL, GUS, OLIVE, chat_of, files_with, place, rows, say, seat_vera
from tests.postgres import rows_of

pytestmark = pytest.mark.both_databases


def age(url: str, days: dict[int, float]) -> None:
    """Let messages be as old as that."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for message_id, old in days.items():
            aged = update(Messages).where(Messages.message_id == message_id)
            connection.execute(aged.values(claimed_at=datetime.now(UTC) - timedelta(days=old)))
    engine.dispose()


async def test_words_older_than_the_retention_are_forgotten_and_younger_ones_stay(
    store: Store, settings: Settings, database_url: str
) -> None:
    revision = seat_vera(store)
    for number in range(1, 7):
        say(store, number, GUS if number % 2 else OLIVE, f"{CANARY if number < 4 else 'young'} {number}", revision)
    store.claim(Heard(7, place(), "Gus", f"{CANARY} that nobody answered"))  # the process ended meanwhile
    store.claim(Heard(8, place(), "Gus", "refused"))
    store.refuse(8, "EngineBusy")
    age(database_url, {1: 400, 2: 31, 3: 30.01, 4: 29.9, 5: 1, 7: 40, 8: 40})
    _, privacy = chat_of(store, settings)
    assert await privacy.sweep() == 5
    assert await privacy.sweep() == 0
    assert CANARY not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []
    seated, past = store.talk(place(), 100)
    assert seated is not None
    assert [turn.text for turn in past[::2]] == ["young 4", "young 5", "young 6"]
    held = (await privacy.about(GUS)).held
    assert (held.messages, held.unanswered) == (1, 0)
    assert not store.claim(Heard(1, place(), "Gus", "replayed"))


async def test_old_reports_go_too(store: Store, settings: Settings, database_url: str) -> None:
    for reason in (CANARY, "young"):
        store.reports.add(1, 2, None, GUS, reason, 9)
    long_ago = (datetime.now(UTC) - timedelta(days=31)).strftime("%Y-%m-%d %H:%M:%S.%f")
    rows_of(
        database_url,
        "UPDATE reports SET created_at = :long_ago WHERE reason = :reason",
        long_ago=long_ago,
        reason=CANARY,
    )
    _, privacy = chat_of(store, settings)
    assert await privacy.sweep() == 0, "it counts messages"
    assert [report.reason for report in store.reports.of(GUS)] == ["young"]
    assert CANARY not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []


async def test_personas_that_were_deleted_go_when_they_can_have_been_missed_long_enough(
    store: Store, settings: Settings, database_url: str
) -> None:
    home = Spot(Scope.SERVER, 50)
    for number, (name, days) in enumerate((("Old", 31), ("Young", 29), ("Answered", 31)), 1):
        kept = store.library.create(home, Persona(name, f"{CANARY if days > 30 else 'kept'} {number}"), GUS)
        if name == "Answered":
            store.seating.seat(Spot(Scope.CHANNEL, CHANNEL), kept.id, GUS)
            seated = store.seating.seated(place())
            assert seated is not None
            say(store, 1, GUS, "Hello", seated.revision_id)
        store.library.delete(kept.id)
        long_ago = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
        change = "UPDATE personas SET deleted_at = :long_ago WHERE id = :id"
        rows_of(database_url, change, long_ago=long_ago, id=kept.id)
    _, privacy = chat_of(store, settings)
    assert await privacy.sweep() == 2
    assert await privacy.sweep() == 0
    assert CANARY not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []
    assert "Hello" in rows(database_url)
    assert store.library.restore(2).persona.name == "Young"
    with pytest.raises(PersonaGone):
        store.library.restore(1)


async def test_without_a_retention_everything_stays(store: Store, tmp_path: Path, database_url: str) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    age(database_url, {1: 10_000})
    _, privacy = chat_of(store, load_settings(data_dir=tmp_path / "data", retention_days=0))
    assert await privacy.sweep() == 0
    assert CANARY in rows(database_url)


async def test_many_old_messages_go_in_several_short_transactions(
    store: Store, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "BATCH", 3)
    monkeypatch.setattr("persona_chat.store.people.BATCHES", 2)
    revision = seat_vera(store)
    for number in range(1, 21):
        say(store, number, GUS, f"{CANARY} {number}", revision)
    age(database_url, dict.fromkeys(range(1, 21), 31))
    assert store.people.forget_before(datetime.now(UTC) - timedelta(days=30)) == 6
    _, privacy = chat_of(store, settings)
    assert await privacy.sweep() == 14
    assert CANARY not in rows(database_url)


@pytest.mark.sqlite_only
async def test_backups_as_old_as_words_may_be_are_deleted(store: Store, settings: Settings) -> None:
    kept = backup.back_up(settings.data_dir / DATABASE, "0006")
    old = kept.with_name(f"persona-chat-0005-{datetime.now(UTC) - timedelta(days=31):%Y%m%dT%H%M%SZ}.sqlite3")
    by_hand, of_the_demo = kept.with_name("before-my-change.sqlite3"), kept.with_name(old.name.replace("-chat", ""))
    for path in (old, by_hand, of_the_demo):
        path.write_bytes(kept.read_bytes())
    _, privacy = chat_of(store, settings)
    await privacy.sweep()
    assert set(kept.parent.iterdir()) == {kept, by_hand, of_the_demo}
    assert (await privacy.forget(GUS)).backups == 1, "whoever deletes their data is told of it"


async def test_the_file_is_written_anew_at_most_once_a_day(
    store: Store, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = seat_vera(store)
    scrubbed: list[bool] = []
    monkeypatch.setattr(store.people, "_scrub", lambda whole: scrubbed.append(whole) or True)
    _, privacy = chat_of(store, settings)
    for number, hours in enumerate((0, 1, 2, 26), 1):
        now = time.monotonic() + hours * 3600
        monkeypatch.setattr(privacy_module.time, "monotonic", lambda now=now: now)
        if number != 3:
            say(store, number, GUS, CANARY, revision)
            age(database_url, {number: 31})
        await privacy.sweep()
        monkeypatch.undo()
        monkeypatch.setattr(store.people, "_scrub", lambda whole: scrubbed.append(whole) or True)
    assert scrubbed == [True, False, True]


async def test_a_bot_that_runs_forgets_by_itself_and_goes_on_after_a_fault(
    store: Store,
    settings: Settings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(privacy_module, "EVERY_S", 0.05)
    say(store, 1, GUS, CANARY, seat_vera(store))
    age(database_url, {1: 31})
    async with open_core(settings, database_url, ScriptedEngine(lambda _: "Hi")) as core:
        faults = [sqlite3.OperationalError(f"about {CANARY}")]
        original = core.store.people.forget_before

        def at_first_not(moment: datetime) -> int:
            if faults:
                raise faults.pop()
            return original(moment)

        monkeypatch.setattr(core.store.people, "forget_before", at_first_not)
        async with forgetting(core):
            with suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while CANARY in rows(database_url):  # noqa: ASYNC110  another connection changes it
                        await asyncio.sleep(0.05)
        assert CANARY not in rows(database_url)
    assert "could not be forgotten" in caplog.text
    assert CANARY not in caplog.text

"""What was deleted is noted by ids, before it is deleted, and can be deleted again."""

import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.run import open_core
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store import ledger
from persona_chat.store.backup import STAMP
from persona_chat.store.database import DATABASE, backups_of, default_url
from persona_chat.store.ledger import Ledger, What
from persona_chat.store.store import Store
from tests.people import CANARY, GUS, OLIVE, chat_of, rows, say, seat_vera


async def test_what_people_had_deleted_is_noted_without_a_word(store: Store, settings: Settings) -> None:
    revision = seat_vera(store)
    for number in (1, 2):
        say(store, number, GUS, CANARY, revision)
    chat, privacy = chat_of(store, settings)
    await Rework(chat, store, settings).delete([1, 999])
    await privacy.opt_out(GUS)
    await privacy.opt_in(GUS)
    await privacy.forget(GUS)
    noted = [(one.what, one.ids) for one in store.ledger.deletions()]
    assert noted == [("deleted", (1,)), ("opted out", (GUS,)), ("opted in", (GUS,)), ("forgotten", (GUS,))]
    assert store.ledger.cut_off() == ()
    path = settings.data_dir / "persona-chat-deletions.jsonl"
    assert CANARY.encode() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_retention_cleared_is_noted_by_its_moment(store: Store, settings: Settings) -> None:
    _, privacy = chat_of(store, settings)
    await privacy.sweep()
    assert store.ledger.deletions() == (), "nothing was cleared"
    store.reports.add(1, 2, None, GUS, CANARY, 9)
    privacy.days = -1
    await privacy.sweep()
    (noted,) = store.ledger.deletions()
    assert noted.what == "cleared"
    assert noted.before is not None
    assert noted.before > datetime.now(UTC)


async def test_a_deletion_that_cannot_be_noted_is_not_said_to_be_done(store: Store, settings: Settings) -> None:
    say(store, 1, GUS, CANARY, seat_vera(store))
    (settings.data_dir / "persona-chat-deletions.jsonl").mkdir()
    _, privacy = chat_of(store, settings)
    with pytest.raises(OSError, match="directory"):
        await privacy.forget(GUS)


async def test_a_deletion_that_was_cut_off_is_finished_at_the_next_start(store: Store, settings: Settings) -> None:
    revision = seat_vera(store)
    for number, person in enumerate((GUS, OLIVE), 1):
        say(store, number, person, f"{CANARY} {person}", revision)
    with pytest.raises(KeyboardInterrupt), store.ledger.noted("forgotten", (GUS,)):
        raise KeyboardInterrupt
    assert len(store.ledger.cut_off()) == 1
    async with open_core(settings, default_url(settings.data_dir), ScriptedEngine(())) as core:
        assert core.store.ledger.cut_off() == ()
    assert f"{CANARY} {GUS}" not in rows(settings.data_dir / DATABASE)
    assert f"{CANARY} {OLIVE}" in rows(settings.data_dir / DATABASE)


def test_a_line_that_was_torn_hides_no_other(tmp_path: Path) -> None:
    notes = Ledger(tmp_path / "deletions.jsonl")
    with notes.noted("forgotten", (1,)):
        pass
    assert notes.path is not None
    torn = json.dumps({"key": "ab", "what": "forgotten", "ids": [2]})[:-7]
    with notes.path.open("a") as file:
        file.write(torn)
    with notes.noted("forgotten", (3,)):
        pass
    assert [one.ids for one in notes.deletions()] == [(1,), (3,)]
    assert notes.deletions(datetime.now(UTC) + timedelta(seconds=1)) == ()


def test_what_is_older_than_any_backup_is_noted_no_more(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = at_days_ago(store, monkeypatch)
    for days in (401, 399, 1):
        noted(days, "forgotten", days)
    with pytest.raises(KeyboardInterrupt), store.ledger.noted("opted out", (500,)):
        raise KeyboardInterrupt
    assert store.ledger.whole_since() is None
    older = backups_of(settings.data_dir / DATABASE) / f"persona-chat-0001-{days_ago(402):{STAMP}}.sqlite3"
    older.parent.mkdir()
    older.touch()
    assert store.prune_ledger() == 0, "with that backup it would come back"
    older.unlink()
    with monkeypatch.context() as full:
        full.setattr(ledger, "sync", no_room)
        assert store.prune_ledger() == 0
    assert len(store.ledger.deletions()) == 4
    assert store.prune_ledger() == 1
    assert [one.ids for one in store.ledger.deletions()] == [(399,), (1,), (500,)]
    assert [one.ids for one in store.ledger.cut_off()] == [(500,)]
    since = store.ledger.whole_since()
    assert since is not None
    assert days_ago(400) - timedelta(minutes=1) < since < days_ago(400) + timedelta(minutes=1)
    assert store.ledger.path is not None
    assert store.ledger.path.stat().st_mode & 0o777 == 0o600
    before = store.ledger.path.read_bytes()
    assert store.prune_ledger() == 0
    assert store.ledger.path.read_bytes() == before
    with store.ledger.noted("forgotten", (2,)):
        pass
    assert [one.ids for one in store.ledger.deletions()] == [(399,), (1,), (500,), (2,)]
    assert store.ledger.whole_since() == since


def test_what_a_later_deletion_does_as_well_is_noted_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = at_days_ago(store, monkeypatch)
    for days in (9, 8, 7):
        noted(days, "cleared", before=days_ago(days + 30))
    noted(6, "thumb taken back", 1, GUS, 1)
    noted(6, "suggestion taken back", 1, OLIVE, 1)
    noted(5, "forgotten", GUS)
    noted(4, "thumb taken back", 2, GUS, 1)
    assert store.prune_ledger() == 3
    left = [(one.what, one.ids) for one in store.ledger.deletions()]
    assert left == [
        ("cleared", ()),
        ("suggestion taken back", (1, OLIVE, 1)),
        ("forgotten", (GUS,)),
        ("thumb taken back", (2, GUS, 1)),
    ]
    (cleared,) = (one.before for one in store.ledger.deletions() if one.before)
    assert cleared < days_ago(36)
    assert store.ledger.whole_since() is None, "nothing is missing"


async def test_a_start_lets_go_of_old_notes(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    at_days_ago(store, monkeypatch)(401, "forgotten", 1)
    async with open_core(settings, default_url(settings.data_dir), ScriptedEngine(())):
        assert store.ledger.deletions() == ()


def no_room(_path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def days_ago(days: float) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def at_days_ago(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What notes a deletion as if it had been done so many days ago."""

    def noted(days: float, what: What, *ids: int, before: datetime | None = None) -> None:
        with monkeypatch.context() as then:
            then.setattr(ledger, "_now", lambda: days_ago(days))
            with store.ledger.noted(what, ids, before):
                pass

    return noted


def test_without_a_place_for_it_nothing_is_noted() -> None:
    with Ledger(None).noted("forgotten", (1,)):
        pass
    assert Ledger(None).deletions() == ()

"""What was deleted is noted by ids, before it is deleted, and can be deleted again."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.run import open_core
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store.database import DATABASE, default_url
from persona_chat.store.ledger import Ledger
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
    ledger = Ledger(tmp_path / "deletions.jsonl")
    with ledger.noted("forgotten", (1,)):
        pass
    assert ledger.path is not None
    torn = json.dumps({"key": "ab", "what": "forgotten", "ids": [2]})[:-7]
    with ledger.path.open("a") as file:
        file.write(torn)
    with ledger.noted("forgotten", (3,)):
        pass
    assert [one.ids for one in ledger.deletions()] == [(1,), (3,)]
    assert ledger.deletions(datetime.now(UTC) + timedelta(seconds=1)) == ()


def test_without_a_place_for_it_nothing_is_noted() -> None:
    with Ledger(None).noted("forgotten", (1,)):
        pass
    assert Ledger(None).deletions() == ()

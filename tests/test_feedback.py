"""What people think of replies, on real databases: one verdict a person and version, counted, and forgotten."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from persona_chat.errors import InputError
from persona_chat.feedback import Feedback, share
from persona_chat.privacy import Privacy
from persona_chat.settings import Settings
from persona_chat.store.feedback import Mine, Tally, Thumb
from persona_chat.store.store import Store
from tests.people import CANARY, GUS, OLIVE, chat_of, files_with, place, rows, say, seat_vera
from tests.postgres import rows_of
from tests.test_cli import persona_chat
from tests.test_retention import age

pytestmark = pytest.mark.both_databases

UP, DOWN = Thumb.UP, Thumb.DOWN
THIRD = 70_000_003


@pytest.fixture
def talked(store: Store) -> Store:
    """Two messages of two people, each answered in two versions."""
    revision = seat_vera(store)
    say(store, 1, GUS, "Hello", revision)
    say(store, 2, OLIVE, "Ahoy", revision)
    return store


def opened(store: Store, settings: Settings) -> tuple[Feedback, Privacy]:
    _, privacy = chat_of(store, settings)
    return Feedback(store, privacy.opted_out), privacy


def count(url: str) -> int:
    return len(rows_of(url, "SELECT 1 FROM feedback"))


async def test_of_a_persons_verdicts_on_a_version_the_newest_counts(talked: Store, settings: Settings) -> None:
    feedback, _ = opened(talked, settings)
    for thumb in (UP, UP, DOWN):
        await feedback.judge(1, 2, GUS, thumb)
    await feedback.judge(1, 1, GUS, UP)
    await feedback.judge(1, 2, OLIVE, UP)
    assert (await feedback.of(1, GUS)).mine == Mine(DOWN)
    assert await feedback.tallies() == (Tally(None, 2, 2, 1, 0),)
    talked.answers.show(1, 1)
    opinion = await feedback.of(1_000_001, GUS)  # by the id of what it was sent as
    assert (opinion.message_id, opinion.number, opinion.versions, opinion.mine) == (1, 1, 2, Mine(UP))


async def test_a_verdict_that_is_taken_back_leaves_the_suggestion_and_nothing_else(
    talked: Store, settings: Settings, database_url: str
) -> None:
    feedback, _ = opened(talked, settings)
    await feedback.judge(1, 1, GUS, UP)
    await feedback.judge(1, 2, GUS, UP)
    await feedback.suggest(1, 2, GUS, "  Good\nmorning!  ")
    await feedback.judge(2, 2, GUS, UP)
    await feedback.judge(1, 2, OLIVE, UP)
    await feedback.take_back(1, GUS, DOWN)
    assert count(database_url) == 4
    await feedback.take_back(1, GUS, UP)
    await feedback.take_back(1, GUS, UP)
    assert (await feedback.of(1, GUS)).mine == Mine(None, "Good morning!")
    assert (await feedback.of(2, GUS)).mine == Mine(UP)
    assert (await feedback.of(1, OLIVE)).mine == Mine(UP)
    assert count(database_url) == 3
    await feedback.suggest(1, 2, GUS, " ")
    await feedback.judge(2, 2, GUS, None)
    await feedback.judge(1, 2, OLIVE, None)
    assert count(database_url) == 0, "a row that says nothing is none"


async def test_a_suggestion_changes_no_reply_and_of_two_the_newer_counts(talked: Store, settings: Settings) -> None:
    feedback, _ = opened(talked, settings)
    await feedback.suggest(1, 2, GUS, "Good morning!")
    await feedback.suggest(1, 2, GUS, "Good evening!")
    await feedback.suggest(2, 1, OLIVE, "Ahoy yourself.")
    answer = talked.answers.find(1)
    assert answer is not None
    assert [version.text for version in answer.versions] == ["You say Hello", "Again: Hello"]
    found = [(one.persona, one.said, one.better) for one in await feedback.suggestions()]
    assert found == [("Vera", "You say Ahoy", "Ahoy yourself."), ("Vera", "Again: Hello", "Good evening!")]
    assert await feedback.tallies() == (Tally(None, 0, 0, 0, 2),)


async def test_what_cannot_be_judged_is_said(talked: Store, settings: Settings, database_url: str) -> None:
    feedback, privacy = opened(talked, settings)
    talked.answers.add(1, 1, "As a person would say it.", None, {"edited_by": GUS})
    await privacy.opt_out(OLIVE)
    for number, person, says in (
        (3, THIRD, "A person wrote"),
        (4, THIRD, "not there any more"),
        (1, OLIVE, "opted out"),
    ):
        with pytest.raises(InputError, match=says):
            await feedback.judge(1, number, person, UP)
        with pytest.raises(InputError, match=says):
            await feedback.suggest(1, number, person, "Else.")
    with pytest.raises(InputError, match="no reply of mine"):
        await feedback.judge(99, 1, THIRD, UP)
    with pytest.raises(InputError, match="2,001 characters; 2,000 are allowed"):
        await feedback.suggest(1, 1, THIRD, "x" * 2001)
    await feedback.suggest(1, 1, THIRD, "x" * 1999 + "\ud800")
    assert count(database_url) == 1


def test_counts_are_by_the_adapter_that_wrote_it_and_a_share_needs_ten_verdicts(store: Store) -> None:
    revision = seat_vera(store)
    say(store, 1, GUS, "Hello", revision)
    store.answers.add(1, revision, "By an adapter.", "first@1", {"seed": 1})
    for person in range(100, 110):
        assert store.feedback.judge(1, 3, person, UP if person < 108 else DOWN)
    assert store.feedback.judge(1, 1, GUS, DOWN)
    assert store.feedback.tallies() == (Tally("first@1", 1, 8, 2, 0), Tally(None, 1, 0, 1, 0))


def test_the_interval_is_wilsons() -> None:
    found = share(Tally(None, 10, 8, 2, 0))
    assert found is not None
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.8, 0.4902, 0.9433)
    none, every = share(Tally(None, 10, 0, 10, 0)), share(Tally(None, 10, 10, 0, 0))
    assert none is not None
    assert every is not None
    assert (none.low, round(none.high, 4), round(every.low, 4), every.high) == (0, 0.2775, 0.7225, 1)
    assert share(Tally(None, 9, 9, 0, 0)) is None


async def test_feedback_goes_with_a_reply_that_is_deleted(talked: Store, settings: Settings, database_url: str) -> None:
    feedback, _ = opened(talked, settings)
    await feedback.suggest(1, 1, OLIVE, CANARY)
    await feedback.judge(1, 2, GUS, UP)
    await feedback.judge(2, 2, GUS, UP)
    talked.answers.delete([1])
    assert CANARY not in rows(database_url)
    assert count(database_url) == 1
    assert not talked.feedback.judge(1, 1, GUS, UP)


async def test_feedback_goes_with_a_reply_that_is_too_old(talked: Store, settings: Settings, database_url: str) -> None:
    feedback, privacy = opened(talked, settings)
    await feedback.suggest(1, 1, OLIVE, CANARY)
    await feedback.judge(2, 2, GUS, UP)
    age(database_url, {1: 31})
    await privacy.sweep()
    assert files_with(settings.data_dir, CANARY) == []
    assert count(database_url) == 1


async def test_feedback_on_an_edit_goes_with_whoever_wrote_it(
    talked: Store, settings: Settings, database_url: str
) -> None:
    _, privacy = opened(talked, settings)
    talked.answers.add(2, 1, "As I would say it.", None, {"edited_by": GUS})
    assert talked.feedback.judge(2, 3, OLIVE, UP)
    await privacy.forget(GUS)
    assert count(database_url) == 0


async def test_forgetting_a_person_leaves_no_trace_of_what_they_thought(
    talked: Store, settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    feedback, privacy = opened(talked, settings)
    await feedback.suggest(2, 1, GUS, f"{CANARY} " * 200)
    await feedback.judge(1, 1, GUS, DOWN)
    await feedback.suggest(1, 1, OLIVE, f"Olive's {CANARY}")  # of a reply that goes with Gus's message
    await feedback.judge(2, 2, OLIVE, UP)
    assert CANARY in rows(database_url)
    assert (await privacy.about(GUS)).held.feedback == 2

    forgotten = await privacy.forget(GUS)

    assert (forgotten.held.feedback, forgotten.scrubbed) == (2, True)
    assert CANARY not in rows(database_url)
    assert str(GUS) not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []
    assert CANARY not in caplog.text
    assert (await feedback.of(2, OLIVE)).mine == Mine(UP), "what others thought of others' replies stays"
    assert (await privacy.forget(GUS)).held.feedback == 0


async def test_who_only_judged_is_forgotten_too(talked: Store, settings: Settings, database_url: str) -> None:
    feedback, privacy = opened(talked, settings)
    await feedback.suggest(1, 1, THIRD, CANARY)
    assert (await privacy.about(THIRD)).held
    assert (await privacy.forget(THIRD)).scrubbed
    assert str(THIRD) not in rows(database_url)
    assert files_with(settings.data_dir, CANARY) == []


async def test_an_export_holds_a_persons_feedback_and_nobody_elses(talked: Store, settings: Settings) -> None:
    feedback, privacy = opened(talked, settings)
    await feedback.judge(1, 1, GUS, UP)
    await feedback.suggest(2, 2, GUS, "Ahoy, mate!")
    await feedback.suggest(1, 1, OLIVE, "Olive's own")
    data = json.loads((await privacy.export(GUS)).content)
    first, second = data["feedback"]
    assert (first["message_id"], first["version"], first["verdict"], first["suggestion"]) == (1, 1, "up", "")
    assert (second["message_id"], second["version"], second["verdict"]) == (2, 2, None)
    assert second["suggestion"] == "Ahoy, mate!"
    assert datetime.fromisoformat(first["given_at"]) > datetime.now(UTC) - timedelta(minutes=5)
    assert first["channel_id"] == place().channel_id
    assert "Olive's own" not in json.dumps(data)


@pytest.mark.sqlite_only
async def test_the_shell_counts_too(talked: Store, settings: Settings) -> None:
    feedback, _ = opened(talked, settings)
    at = ("--data-dir", settings.data_dir)
    assert b"Nobody has judged a reply yet." in persona_chat("feedback", *at).stdout
    await feedback.judge(1, 1, GUS, UP)
    await feedback.suggest(1, 1, GUS, CANARY)
    shown = persona_chat("feedback", *at)
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"none, the plain base" in shown.stdout
    counts = {"adapter": None, "replies": 1, "up": 1, "down": 0, "suggestions": 1, "share": None}
    assert json.loads(persona_chat("feedback", "--json", *at).stdout) == [counts]

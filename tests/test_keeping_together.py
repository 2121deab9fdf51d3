"""What many channels have to keep at the same moment is kept in few transactions, and each caller hears of its own."""

import asyncio
import threading

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DataError, OperationalError

from persona_chat import keeping
from persona_chat.heard import Heard
from persona_chat.keeping import Keeping
from persona_chat.store.store import Store
from tests.people import place, seat_vera

pytestmark = pytest.mark.both_databases


def heard(message_id: int) -> Heard:
    return Heard(message_id, place(), "Gus", f"Hello from {message_id}!")


def commits(store: Store) -> list[int]:
    """A list that grows with each transaction of the store that ends."""
    engine: Engine = store._engine
    ended: list[int] = []
    event.listen(engine, "commit", lambda _connection: ended.append(1))
    return ended


def begun(store: Store) -> list[int]:
    """A list that grows with each transaction of the store that begins."""
    found: list[int] = []
    event.listen(store._engine, "begin", lambda _connection: found.append(1))
    return found


async def test_fifty_at_once_are_two_transactions(store: Store) -> None:
    kept, ended = Keeping(store).kept, commits(store)
    claimed = await asyncio.gather(*(kept(store.claim, heard(number)) for number in range(1, 51)))
    assert claimed == [True] * 50
    assert len(ended) <= 2
    assert store.inbox.known(range(1, 51)) == set(range(1, 51))


async def test_what_is_told_to_be_kept_can_be_read_by_others(store: Store) -> None:
    kept, seen = Keeping(store).kept, []

    async def claim(number: int) -> None:
        await kept(store.claim, heard(number))
        seen.append(store.inbox.known([number]))  # on a connection of its own

    await asyncio.gather(*map(claim, range(1, 21)))
    assert seen == [{number} for number in range(1, 21)]


async def test_fifty_at_once_read_in_two_transactions_each_its_own(store: Store) -> None:
    keeping, ended = Keeping(store), begun(store)
    seat_vera(store)
    for number in range(1, 51):
        store.claim(heard(number))
    ended.clear()
    read = await asyncio.gather(*(keeping.read(store.inbox.known, [number, 99]) for number in range(1, 51)))
    assert read == [{number} for number in range(1, 51)]
    assert len(ended) == 2


async def test_one_that_cannot_be_read_costs_the_others_nothing(store: Store) -> None:
    keeping = Keeping(store)
    store.claim(heard(1))

    def broken() -> None:
        with store.reading() as connection:
            connection.exec_driver_sql("SELECT 1 / 0")  # a server ends the transaction there
            raise LookupError

    asked = [keeping.read(store.inbox.known, [1]) for _ in range(5)]
    outcomes = await asyncio.gather(*asked, keeping.read(broken), return_exceptions=True)
    assert outcomes[:5] == [{1}] * 5
    assert isinstance(outcomes[5], LookupError | DataError)


async def test_what_reads_does_not_wait_for_what_writes(store: Store) -> None:
    keeping, going_on = Keeping(store), threading.Event()
    writes = asyncio.create_task(keeping.kept(going_on.wait, 30))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(keeping.read(store.inbox.known, [1]), 20) == set()
    going_on.set()
    assert await writes


async def test_one_that_fails_costs_the_others_nothing(store: Store) -> None:
    kept = Keeping(store).kept
    seat_vera(store)
    asked = [kept(store.claim, heard(number)) for number in range(1, 6)]
    outcomes = await asyncio.gather(*asked, kept(store.mark_sent, 99, 0, 9000), return_exceptions=True)
    assert outcomes[:5] == [True] * 5
    assert isinstance(outcomes[5], LookupError)
    assert store.inbox.known(range(1, 6)) == {1, 2, 3, 4, 5}


async def test_a_message_that_comes_twice_at_once_is_claimed_once(store: Store) -> None:
    kept = Keeping(store).kept
    assert sorted(await asyncio.gather(*(kept(store.claim, heard(7)) for _ in range(10)))) == [False] * 9 + [True]


async def test_where_the_database_takes_nothing_nothing_is_half_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_S", 0.01)
    kept, tries = Keeping(store).kept, [0]
    claim = Store.claim

    def full(self: Store, said: Heard) -> bool:
        done = claim(self, said)
        if said.message_id == 20:  # after nineteen others in the same transaction
            tries[0] += 1
            if tries[0] < 3:
                assert not store.inbox.known(range(1, 21)) - {1}  # the first was alone, before these came
                raise OperationalError("INSERT …", {}, Exception("disk is full"))
        return done

    monkeypatch.setattr(Store, "claim", full)
    assert await asyncio.gather(*(kept(store.claim, heard(number)) for number in range(1, 21))) == [True] * 20
    assert tries[0] == 3
    assert store.inbox.known(range(1, 21)) == set(range(1, 21))


async def test_a_caller_that_is_cancelled_holds_up_nobody(store: Store) -> None:
    kept = Keeping(store).kept
    asked = [asyncio.create_task(kept(store.claim, heard(number))) for number in range(1, 6)]
    await asyncio.sleep(0)
    asked[2].cancel()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert [outcomes[number] for number in (0, 1, 3, 4)] == [True] * 4
    assert store.inbox.known(range(1, 6)) >= {1, 2, 4, 5}


async def test_nobody_waits_for_ever_where_no_thread_can_be_had(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(*_given: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr(asyncio, "to_thread", none)
    kept = Keeping(store).kept
    asked = asyncio.gather(*(kept(store.claim, heard(number)) for number in (1, 2)), return_exceptions=True)
    outcomes = await asyncio.wait_for(asked, 5)
    assert all(isinstance(outcome, RuntimeError) for outcome in outcomes)


async def test_nobody_waits_for_ever_where_the_event_loop_ends(store: Store) -> None:
    keeper = Keeping(store)
    alone, beside = (asyncio.create_task(keeper.kept(store.claim, heard(number))) for number in (1, 2))
    assert await alone
    assert keeper._writers._task is not None
    await asyncio.sleep(0)  # it begins
    keeper._writers._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(beside, 5)


async def test_who_is_cancelled_while_alone_leaves_nobody_behind(store: Store) -> None:
    kept = Keeping(store).kept
    alone, beside = (asyncio.create_task(kept(store.claim, heard(number))) for number in (1, 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    alone.cancel()
    assert await asyncio.wait_for(beside, 5)

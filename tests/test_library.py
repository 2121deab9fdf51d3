"""Personas of servers and people on a real SQLite file: names, revisions, deleting, and who talks where."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from persona_chat.errors import InputError, NameTaken, PersonaGone
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.store.store import Store

pytestmark = pytest.mark.both_databases

DAVID = Persona("David", "A gardener.", ("I have two dogs.",), "Good morning!")
VERA = Persona("Vera", "", ("I sail.",))
HERE, THERE, GUS, OLIVE = Spot(Scope.SERVER, 5), Spot(Scope.SERVER, 6), 7, 8
CHANNEL, THREAD = 100, 101


def place(person: int = GUS, *, thread: bool = False, guild_id: int | None = HERE.id) -> Place:
    return Place(THREAD, person, guild_id, CHANNEL) if thread else Place(CHANNEL, person, guild_id)


def name_at(store: Store, where: Place) -> str | None:
    seated = store.seating.seated(where)
    return None if seated is None else seated.persona.name


def test_a_persona_is_found_however_its_name_is_written(store: Store) -> None:
    kept = store.library.create(HERE, replace(DAVID, name="Old  David"), GUS)
    assert store.library.named(HERE, " old david ") == kept
    assert store.library.named(THERE, "Old David") is None
    assert store.library.get(kept.id) == kept


def test_a_name_is_used_once_in_a_server(store: Store) -> None:
    kept = store.library.create(HERE, DAVID, GUS)
    assert store.library.create(HERE, DAVID, OLIVE) == kept, "the same words twice are no mistake"
    with pytest.raises(NameTaken):
        store.library.create(HERE, replace(DAVID, name="DAVID"), GUS)
    vera = store.library.create(HERE, VERA, GUS)
    with pytest.raises(NameTaken):
        store.library.edit(vera.id, replace(VERA, name="david"), GUS)
    assert store.library.create(THERE, DAVID, GUS).id != kept.id
    assert [one.persona.name for one in store.library.list([HERE])] == ["David", "Vera"]


def test_words_have_revisions_and_earlier_ones_come_back(store: Store) -> None:
    kept = store.library.create(HERE, DAVID, GUS)
    edited = store.library.edit(kept.id, replace(DAVID, about="A cook."), OLIVE)
    renamed = store.library.edit(kept.id, replace(edited.persona, name="Dave"), GUS)
    assert store.library.edit(kept.id, renamed.persona, GUS).number == 3, "the same words are no new revision"
    assert [(one.number, one.persona.name, one.by) for one in store.library.revisions(kept.id)] == [
        (3, "Dave", GUS),
        (2, "David", OLIVE),
        (1, "David", GUS),
    ]
    assert store.library.return_to(kept.id, 1).persona == DAVID
    assert store.library.named(HERE, "David") == kept
    assert store.library.named(HERE, "Dave") is None
    store.library.create(HERE, replace(VERA, name="Dave"), GUS)
    with pytest.raises(NameTaken):
        store.library.return_to(kept.id, 3)
    with pytest.raises(InputError, match="no revision 9"):
        store.library.return_to(kept.id, 9)


def test_a_deleted_persona_is_gone_from_everywhere_and_comes_back(store: Store) -> None:
    kept = store.library.create(HERE, DAVID, GUS)
    store.seating.seat(Spot(Scope.CHANNEL, CHANNEL), kept.id)
    assert store.library.delete(kept.id)
    assert not store.library.delete(kept.id)
    assert store.library.get(kept.id) is store.library.named(HERE, "David") is None
    assert store.library.list([HERE]) == ()
    assert name_at(store, place()) is None
    assert store.seating.spots() == {}
    for change in (lambda: store.library.edit(kept.id, VERA, GUS), lambda: store.library.return_to(kept.id, 1)):
        with pytest.raises(PersonaGone):
            change()
    assert store.library.restore(kept.id) == kept
    assert store.library.restore(kept.id) == kept
    assert name_at(store, place()) == "David"
    with pytest.raises(PersonaGone):
        store.library.restore(99)


def test_a_name_that_is_used_again_cannot_come_back(store: Store) -> None:
    kept = store.library.create(HERE, DAVID, GUS)
    store.library.delete(kept.id)
    other = store.library.create(HERE, replace(DAVID, about="Another one."), GUS)
    with pytest.raises(NameTaken):
        store.library.restore(kept.id)
    assert store.library.named(HERE, "David") == other


def test_thread_then_me_then_channel_then_server(store: Store) -> None:
    for scope, spot_id in ((Scope.SERVER, HERE.id), (Scope.CHANNEL, CHANNEL), (Scope.ME, GUS), (Scope.THREAD, THREAD)):
        kept = store.library.create(HERE, replace(VERA, name=scope.value), GUS)
        store.seating.seat(Spot(scope, spot_id), kept.id)
    assert name_at(store, place(thread=True)) == "thread"
    assert name_at(store, place()) == "me"
    assert name_at(store, place(OLIVE)) == "channel"
    assert name_at(store, place(OLIVE, thread=True)) == "thread"
    assert name_at(store, Place(102, OLIVE, HERE.id)) == "server"
    assert name_at(store, Place(102, OLIVE, THERE.id)) is None
    store.seating.unseat(Spot(Scope.THREAD, THREAD))
    assert name_at(store, place(OLIVE, thread=True)) == "channel", "a thread follows its channel"
    seated = store.seating.seated(place(thread=True))
    assert seated is not None
    assert seated.spot == Spot(Scope.ME, GUS)


def test_a_servers_persona_stays_in_its_server(store: Store) -> None:
    theirs = store.library.create(HERE, DAVID, GUS)
    store.seating.seat(Spot(Scope.ME, GUS), theirs.id)
    assert name_at(store, place()) == "David"
    assert name_at(store, Place(200, GUS, THERE.id)) is None
    assert name_at(store, Place(300, GUS)) is None
    mine = store.library.create(Spot(Scope.ME, GUS), VERA, GUS)
    store.seating.seat(Spot(Scope.ME, GUS), mine.id)
    assert {name_at(store, where) for where in (place(), Place(200, GUS, THERE.id), Place(300, GUS))} == {"Vera"}


def test_putting_words_makes_or_edits_the_one_of_that_name(store: Store) -> None:
    spot = Spot(Scope.CHANNEL, CHANNEL)
    kept = store.seating.put(spot, HERE, DAVID, GUS)
    assert store.seating.put(spot, HERE, DAVID, OLIVE) == kept
    edited = store.seating.put(spot, HERE, replace(DAVID, about="A cook."), OLIVE)
    assert (edited.id, edited.number, edited.by) == (kept.id, 2, GUS)
    assert store.seating.at(spot) == edited
    assert store.seating.unseat(spot) == edited
    assert store.seating.unseat(spot) is None
    assert store.library.get(kept.id) == edited, "it is kept, and can be set again"


@pytest.mark.parametrize("verb", ["create", "put"])
def test_who_was_first_to_use_a_name_stays_when_two_try_at_once(store: Store, verb: str) -> None:
    def use(number: int) -> object:
        words = replace(VERA, about=f"Number {number}.")
        try:
            if verb == "put":
                return store.seating.put(Spot(Scope.CHANNEL, number), HERE, words, number).id
            return store.library.create(HERE, words, number).id
        except NameTaken:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(use, range(20)))
    assert len({one for one in made if one is not None}) == 1
    assert len(store.library.list([HERE])) == 1

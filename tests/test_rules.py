"""Where the bot talks and to whom: a table of cases, and that a database keeps it."""

import pytest

from persona_chat.moderation import LISTED, Moderation
from persona_chat.place import Place
from persona_chat.rules import Kind, Rules, Verdict, judge
from persona_chat.store.store import Store
from persona_chat.word_filter import Filtering, Side

pytestmark = pytest.mark.both_databases

SERVER, TALK, OTHER, THREAD = 50, 100, 101, 102
EVERYONE, KIND, RUDE = SERVER, 7, 8

FINE, CHANNEL, ROLE = Verdict.FINE, Verdict.CHANNEL, Verdict.ROLE


@pytest.mark.parametrize(
    ("channels", "place", "verdict"),
    [
        ({}, (TALK, None), FINE),
        ({TALK: False}, (TALK, None), CHANNEL),
        ({TALK: False}, (OTHER, None), FINE),
        ({TALK: True}, (TALK, None), FINE),
        ({TALK: True}, (OTHER, None), CHANNEL),
        ({TALK: True, OTHER: False}, (OTHER, None), CHANNEL),
        # A thread follows its channel …
        ({TALK: False}, (THREAD, TALK), CHANNEL),
        ({TALK: True}, (THREAD, TALK), FINE),
        ({OTHER: True}, (THREAD, TALK), CHANNEL),
        ({OTHER: False}, (THREAD, TALK), FINE),
        # … unless it is named itself.
        ({TALK: False, THREAD: True}, (THREAD, TALK), FINE),
        ({TALK: True, THREAD: False}, (THREAD, TALK), CHANNEL),
        ({THREAD: True}, (THREAD, TALK), FINE),
        ({THREAD: True}, (TALK, None), CHANNEL),
        ({THREAD: False}, (TALK, None), FINE),
    ],
)
def test_channels(channels: dict[int, bool], place: tuple[int, int | None], verdict: Verdict) -> None:
    channel_id, parent_id = place
    there = Place(channel_id, 1, SERVER, parent_id)
    for manages in (False, True):
        assert judge(Rules(channels), there, [EVERYONE], manages=manages) is verdict, "channels count for everybody"


@pytest.mark.parametrize(
    ("roles", "mine", "verdict"),
    [
        ({}, [EVERYONE], FINE),
        ({RUDE: False}, [EVERYONE, RUDE], ROLE),
        ({RUDE: False}, [EVERYONE, KIND], FINE),
        ({KIND: True}, [EVERYONE, KIND], FINE),
        ({KIND: True}, [EVERYONE], ROLE),
        ({KIND: True}, [], ROLE),
        ({KIND: True, RUDE: False}, [EVERYONE, KIND, RUDE], ROLE),  # deny wins
        ({RUDE: False, KIND: True}, [EVERYONE, RUDE, KIND], ROLE),
        ({EVERYONE: False}, [EVERYONE, KIND], ROLE),
        ({EVERYONE: True}, [EVERYONE], FINE),
    ],
)
def test_roles(roles: dict[int, bool], mine: list[int], verdict: Verdict) -> None:
    there = Place(TALK, 1, SERVER)
    assert judge(Rules(roles=roles), there, mine, manages=False) is verdict
    assert judge(Rules(roles=roles), there, mine, manages=True) is FINE, "who manages the server is never locked out"


def test_a_role_comes_before_a_channel() -> None:
    rules = Rules({TALK: False}, {EVERYONE: False})
    assert judge(rules, Place(TALK, 1, SERVER), [EVERYONE], manages=False) is ROLE, "else private commands were open"
    assert judge(rules, Place(TALK, 1, SERVER), [EVERYONE], manages=True) is CHANNEL


async def test_what_is_set_is_kept_for_each_server(store: Store) -> None:
    moderation = Moderation(store)
    await moderation.start()
    await moderation.list(SERVER, Kind.CHANNEL, TALK, allowed=True)
    for allowed in (True, False, False):  # the last word counts, and twice is as once
        await moderation.list(SERVER, Kind.ROLE, RUDE, allowed=allowed)
    await moderation.list(SERVER + 1, Kind.CHANNEL, OTHER, allowed=False)
    await moderation.filter(SERVER, Filtering(Side.INPUT, built_in=False, words=("Plum", "sour plum")))
    await moderation.write_to(SERVER, 400)
    again = Moderation(store)
    await again.start()
    for one in (moderation, again):
        filtering = Filtering(Side.INPUT, built_in=False, words=("Plum", "sour plum"))
        assert one.rules(SERVER) == Rules({TALK: True}, {RUDE: False}, filtering, 400)
        assert one.words(SERVER).stops_input("a SOUR plum")
        assert one.rules(SERVER + 1) == Rules({OTHER: False})
        assert one.rules(None) == Rules()
        assert one.words(None).stops_input("a plum") is None
    await again.filter(SERVER, Filtering(words=("pear",)))
    await again.write_to(SERVER, None)
    await again.unlist(SERVER, Kind.ROLE, RUDE)
    await again.unlist(SERVER, Kind.CHANNEL, None)
    await moderation.start()
    assert moderation.rules(SERVER) == Rules(filtering=Filtering(words=("pear",)))
    assert moderation.rules(SERVER + 1) == Rules({OTHER: False})


async def test_lists_have_an_end(store: Store) -> None:
    moderation = Moderation(store)
    await moderation.start()
    for number in range(LISTED):
        store.moderation.list(SERVER, Kind.ROLE, number, allowed=True)
    assert await moderation.list(SERVER, Kind.CHANNEL, TALK, allowed=True)
    assert not await moderation.list(SERVER, Kind.ROLE, LISTED, allowed=True)
    assert await moderation.list(SERVER, Kind.ROLE, 0, allowed=False), "one that is there may change sides"

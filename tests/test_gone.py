"""Channels, threads and servers that are gone are forgotten, with all that was said and set there."""

from collections.abc import Iterator

import pytest

from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store.database import open_database
from persona_chat.store.redo import redo
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from persona_chat.word_filter import Filtering, Side
from tests.discord_world import World, world
from tests.people import files_with, rows
from tests.torture import count, record

VERA = Persona("Vera", "I keep a lighthouse.")
CANARY = "canary"

pytestmark = pytest.mark.both_databases


@pytest.fixture
def store(database_url: str, settings: Settings) -> Iterator[Store]:
    """With a data folder, where deletions are noted on a server's database too."""
    upgrade(database_url)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    store = Store(open_database(database_url), settings.data_dir)
    yield store
    store.close()


def live(store: Store, server_id: int, channels: list[int], word: str) -> None:
    """All that can be kept of a server: personas, what is set, talk, reports, memories."""
    server = Spot(Scope.SERVER, server_id)
    persona = Persona(f"{word} persona", f"I know {word}.", (f"I like {word}.",))
    kept = store.seating.put(server, server, persona, 5)
    store.moderation.list(server_id, "channel", channels[0], allowed=True)
    store.moderation.set(server_id, Filtering(Side.BOTH, words=(f"{word}word",)), channels[0])
    for number, channel in enumerate(channels):
        place = Place(channel, 5, server_id)
        store.seating.seat(Spot(Scope.CHANNEL, channel), kept.id, 5)
        store.guests.invite(Spot(Scope.CHANNEL, channel), kept.id, f"{word}trigger", 5)
        message = server_id * 1000 + number
        assert store.claim(Heard(message, place, f"name {word}", f"said {word}"))
        seated = store.seating.seated(place)
        assert seated is not None
        store.save_reply(message, seated.revision_id, f"answer {word}")
        store.mark_sent(message, 0, message + 1)
        store.feedback.suggest(message, 1, 6, f"better {word}")
        store.reports.add(server_id, channel, message, 6, f"reason {word}", most=10)
        store.memories.keep(channel, kept.id, [f"noted {word}"], 5)


def test_a_server_that_was_left_leaves_no_trace_and_the_others_stay(
    store: Store, database_url: str, settings: Settings
) -> None:
    servers = count(6, 50)
    for server in range(1, servers + 1):
        live(store, server, [server * 10, server * 10 + 1], CANARY if server % 2 else "kept")
    before = rows(database_url).count("kept")
    for server in range(1, servers + 1, 2):
        # Of the second channel Discord says nothing: an archived thread is not among those that it names.
        store.people.forget_places([server * 10], server)
    after = rows(database_url)
    assert CANARY not in after
    assert after.count("kept") == before
    assert files_with(settings.data_dir, CANARY) == []
    for server in range(1, servers + 1, 2):
        for channel in (server * 10, server * 10 + 1):
            assert store.talk(Place(channel, 5, server), 10) == (None, ())
    record("G3", database="sqlite" if database_url.startswith("sqlite") else "postgresql", servers=servers, traces=0)


def test_that_is_done_again_after_a_restore(store: Store, database_url: str) -> None:
    live(store, 1, [10, 11], CANARY)
    live(store, 2, [20, 21], CANARY)
    live(store, 3, [30], "kept")
    with store.ledger.noted("server gone", (1, 10)):
        pass
    with store.ledger.noted("channels gone", (20, 21)):
        pass
    assert redo(store, store.ledger.deletions()) == 2
    assert f"said {CANARY}" not in rows(database_url)
    assert "said kept" in rows(database_url)
    assert store.library.named(Spot(Scope.SERVER, 1), f"{CANARY} persona") is None
    assert store.library.named(Spot(Scope.SERVER, 2), f"{CANARY} persona") is not None


def noted(store: Store) -> list[str]:
    return [one.what for one in store.ledger.deletions()]


async def talked(here: World) -> None:
    await here.seat(VERA)
    await here.guest.send(here.talk, f"Hello, {CANARY}!")
    await here.guest.send(here.other, "Elsewhere")


async def test_in_discord_a_channel_that_is_deleted_is_forgotten(
    store: Store, settings: Settings, database_url: str
) -> None:
    async with world(store, settings) as here:
        await talked(here)
        assert CANARY in rows(database_url)
        here.env.backend.delete_channel(here.talk.id)
        await here.env.settle()
        assert CANARY not in rows(database_url)
        assert not here.bot.chat.cast.is_on(here.place(here.talk))
        assert noted(store) == ["channels gone"]


async def test_in_discord_a_server_that_was_left_is_forgotten_and_may_invite_again(
    store: Store, settings: Settings, database_url: str
) -> None:
    async with world(store, settings) as here:
        await talked(here)
        here.env.backend.remove_guild(here.guild.id)
        await here.env.settle()
        assert CANARY not in rows(database_url)
        assert "Vera" not in rows(database_url)
        assert files_with(settings.data_dir, CANARY) == []
        assert noted(store) == ["server gone"]


async def test_a_server_that_is_only_out_of_reach_is_not_forgotten(
    store: Store, settings: Settings, database_url: str
) -> None:
    async with world(store, settings) as here:
        await talked(here)
        here.env.backend.emit("GUILD_DELETE", {"id": str(here.guild.id), "unavailable": True})
        await here.env.settle()
        assert CANARY in rows(database_url)
        assert store.ledger.deletions() == ()

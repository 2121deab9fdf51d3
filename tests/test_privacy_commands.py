"""`/privacy` in Discord, through the real discord.py against simcord: everybody sees and deletes what is theirs."""

import asyncio
import json
from pathlib import Path

import pytest

from persona_chat.persona import Persona
from persona_chat.place import Place, Scope
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store
from tests.discord_world import World, fill, never_pings, told, world
from tests.people import CANARY, files_with, rows
from tests.test_draft import speaking

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


async def talked(here: World) -> None:
    """The guest says two things and the owner one, and the guest has a persona."""
    await here.seat(VERA)
    await here.guest.send(here.talk, f"I am a {CANARY}")
    await here.guest.send(here.talk, f"A yellow {CANARY}")
    await here.owner.send(here.talk, "I am Olive")
    form = await here.guest.slash(here.talk, "persona create", for_me=True)
    (draft,) = told(await fill(here.guest, form, "Nemo", f"I dive with a {CANARY}."))
    await here.guest.click(draft, label="Save")


async def words_come(here: World) -> None:
    """Wait until the first of a reply are shown."""
    while not here.said(here.talk):  # noqa: ASYNC110  it is the simulated Discord that changes
        await asyncio.sleep(0.05)


async def test_show_says_what_is_kept_in_words_and_numbers(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        (nothing,) = told(await here.guest.slash(here.talk, "privacy show"))
        assert nothing.content.startswith("Nothing is kept of you.")
        await talked(here)
        await here.guest.slash(here.talk, "persona set", name="Nemo", scope="me")
        (line,) = told(await here.guest.slash(here.talk, "privacy show"))
        assert line.ephemeral
        assert "2 messages in 1 channel, 2 replies, 1 persona of your own and that Nemo is set for you" in line.content
        assert "kept for 30 days" in line.content
        assert "never training data" in line.content
        assert "You did not opt out." in line.content
        await here.guest.slash(here.talk, "privacy opt-out")
        (line,) = told(await here.guest.slash(here.talk, "privacy show"))
        assert "You opted out on <t:" in line.content
        assert never_pings(here.env) == []


async def test_export_is_a_file_that_only_its_person_sees(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await talked(here)
        (sent,) = told(await here.guest.slash(here.talk, "privacy export"))
        assert sent.ephemeral
        (attachment,) = sent.attachments
        assert attachment.filename == "persona-chat-my-data.json"
        data = json.loads(await attachment.read())
        assert [message["text"] for message in data["messages"]] == [f"I am a {CANARY}", f"A yellow {CANARY}"]
        assert data["messages"][0]["replies"][0]["text"] == f"Vera heard: I am a {CANARY} (1)"
        assert data["personas"][0]["revisions"][0]["persona"]["about"] == f"I dive with a {CANARY}."
        assert "Olive" not in json.dumps(data)


async def test_an_export_that_is_too_large_says_so(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, settings) as here:
        await talked(here)
        monkeypatch.setattr("persona_chat.privacy.EXPORT_BYTES", 2300)
        (sent,) = told(await here.guest.slash(here.talk, "privacy export"))
        assert "but 1 oldest entry" in sent.content
        data = json.loads(await sent.attachments[0].read())
        assert [message["text"] for message in data["messages"]] == [f"A yellow {CANARY}"]


async def test_forget_asks_first_then_deletes_every_word_and_says_how_many(
    store: Store, settings: Settings, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "persona_chat")
    caplog.set_level("DEBUG", "bot")
    async with world(store, settings) as here:
        (nothing,) = told(await here.guest.slash(here.talk, "privacy forget"))
        assert nothing.content == "Nothing is kept of you."
        await talked(here)
        (asked,) = told(await here.guest.slash(here.talk, "privacy forget"))
        counts = "2 messages in 1 channel, 2 replies and 1 persona of your own"
        assert asked.content == f"Delete {counts}? That cannot be undone."
        (kept,) = told(await here.guest.click(asked, label="Keep"))
        assert kept.content == "Everything stays as it is."
        assert CANARY in rows(database_url)

        (asked,) = told(await here.guest.slash(here.talk, "privacy forget"))
        (done,) = told(await here.guest.click(asked, label="Delete my data"))
        assert done.ephemeral
        assert done.content.startswith(f"Deleted: {counts}.\n")
        assert "messages in Discord itself" in done.content
        assert CANARY not in rows(database_url)
        assert str(here.guest.id) not in rows(database_url)
        assert files_with(settings.data_dir, CANARY) == []
        assert CANARY not in "\n".join(record.getMessage() for record in caplog.records if "simcord" not in record.name)
        await here.owner.send(here.talk, "Who else is here?")
        assert here.said(here.talk)[-1] == "Vera heard: Who else is here? (3)", "Olive's talk goes on"
        assert never_pings(here.env) == []


async def test_a_forgotten_message_that_discord_replays_is_not_answered_again(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await talked(here)
        said = len(here.said(here.talk))
        mine = next(message for message in here.talk.history() if message.content == f"I am a {CANARY}")
        await here.bot.privacy.forget(here.guest.id)
        await here.bot.on_message(mine)
        assert len(here.said(here.talk)) == said


async def test_forgetting_in_the_middle_of_a_reply_ends_it(store: Store, settings: Settings, database_url: str) -> None:
    async with speaking(store, settings, 0.1) as (here, engine):
        await here.guest.send(here.talk, f"A long one about a {CANARY}")
        await words_come(here)
        (asked,) = told(await here.guest.slash(here.talk, "privacy forget"))
        (done,) = told(await here.guest.click(asked, label="Delete my data"))
        await here.bot.drain.settled(5)
        await here.env.settle()
        assert len(engine.cancelled) == 1
        assert here.said(here.talk) == [], "what was shown of it is gone too"
        assert "the ids of 1 message without words" in done.content
        assert CANARY not in rows(database_url)
        assert files_with(settings.data_dir, CANARY) == []


async def test_who_opted_out_is_neither_kept_nor_answered(store: Store, settings: Settings, database_url: str) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        (line,) = told(await here.guest.slash(here.talk, "privacy opt-out"))
        assert line.ephemeral
        assert line.content == "From now on I keep and answer nothing that you say. `/privacy opt-in` ends that."
        me = f"<@{here.bot.user.id}>"  # type: ignore[union-attr]
        sent = await here.guest.send(here.talk, f"A {CANARY}")
        await here.guest.send(here.talk, f"{me} a {CANARY}?")
        await here.guest.edit(sent, f"Another {CANARY}")
        assert here.said(here.talk) == []
        assert CANARY not in rows(database_url)
        await here.owner.send(here.talk, "I am still here")
        assert here.said(here.talk) == ["Vera heard: I am still here (1)"]
        (shown,) = told(await here.guest.slash(here.talk, "persona show"))
        assert shown.embeds[0].title == "Vera", "commands work on"

        (line,) = told(await here.guest.slash(here.talk, "privacy opt-in"))
        assert line.content.startswith("I answer you again.")
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1] == "Vera heard: Hello (3)"


async def test_what_was_kept_before_opting_out_stays_until_it_is_deleted(
    store: Store, settings: Settings, database_url: str
) -> None:
    async with world(store, settings) as here:
        await talked(here)
        mine = next(message for message in here.talk.history() if message.content == f"A yellow {CANARY}")
        (line,) = told(await here.guest.slash(here.talk, "privacy opt-out"))
        assert "stays: 2 messages in 1 channel" in line.content
        assert CANARY in rows(database_url)
        await here.guest.edit(mine, "An edit that is not kept")
        assert "An edit" not in rows(database_url)
        (done,) = told(await here.guest.click(line, label="Delete my data"))
        assert done.content.startswith("Deleted: 2 messages")
        assert CANARY not in rows(database_url)
        assert here.bot.privacy.opted_out(here.guest.id)


async def test_opting_out_ends_replies_under_way(store: Store, settings: Settings, database_url: str) -> None:
    async with speaking(store, settings, 0.1) as (here, engine):
        await here.guest.send(here.talk, f"A long one about a {CANARY}")
        await words_come(here)
        await here.bot.privacy.opt_out(here.guest.id)
        await here.bot.drain.settled(5)
        assert len(engine.cancelled) == 1
        assert CANARY not in rows(database_url)


async def test_it_all_works_in_direct_messages(store: Store, settings: Settings, database_url: str) -> None:
    async with world(store, settings) as here:
        friend = here.env.create_user("friend")
        await friend.slash("persona set", name="Nemo", about="A captain.")
        await friend.send_dm(f"Ahoy {CANARY}")
        counts = "1 message in 1 channel, 1 reply and 1 persona of your own"
        (shown,) = told(await friend.slash("privacy show"))
        assert counts in shown.content
        (sent,) = told(await friend.slash("privacy export"))
        assert json.loads(await sent.attachments[0].read())["messages"][0]["text"] == f"Ahoy {CANARY}"
        await friend.slash("privacy opt-out")
        await friend.send_dm("Are you there?")
        last = friend.dm_channel.last_message
        assert last is not None
        assert "You opted out" in last.content
        (asked,) = told(await friend.slash("privacy forget"))
        (done,) = told(await friend.click(asked, label="Delete my data"))
        assert f"Deleted: {counts}" in done.content
        assert CANARY not in rows(database_url)
        await friend.slash("privacy opt-in")
        await friend.send_dm("And now?")
        last = friend.dm_channel.last_message
        assert last is not None
        assert "Nobody is here to talk to" in last.content
        here.env._errors_acknowledged = here.env.error_cursor


@pytest.mark.parametrize(("days", "says"), [(30, "for 30 days"), (1, "for 1 day,"), (0, "until somebody deletes")])
async def test_a_channel_is_told_once_what_is_kept(store: Store, tmp_path: Path, days: int, says: str) -> None:
    async with world(store, load_settings(data_dir=tmp_path / "data", retention_days=days)) as here:
        first, second, mine, server = [
            told(await here.owner.slash(here.talk, "persona set", **options))[0].content
            for options in (
                {"name": "Vera", "about": "A keeper."},
                {"name": "Nemo", "about": "A captain."},
                {"name": "Nemo", "scope": "me"},
                {"name": "Nemo", "scope": "server"},
            )
        ]
        notice = first.splitlines()[-1]
        assert notice.startswith("-# ")
        assert says in notice
        assert "/privacy" in notice
        assert "/privacy" not in second
        assert "/privacy" not in mine
        assert notice in server


async def test_a_persona_set_by_its_owner_stops_talking_where_it_is_forgotten(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        cast = here.bot.chat.cast
        place = here.place(here.talk, here.owner)
        kept = await cast.create(place.mine, VERA, here.owner.id)
        await cast.seat(place, Scope.CHANNEL, kept)
        await here.guest.send(here.talk, "Hello")
        await here.bot.privacy.forget(here.owner.id)
        await here.guest.send(here.talk, "Still there?")
        assert here.said(here.talk) == ["Vera heard: Hello (1)"]
        assert not cast.is_on(Place(here.talk.id, here.guest.id, here.guild.id))

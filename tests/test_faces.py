"""A persona speaks with its own name and picture, through the real discord.py against simcord, and where it cannot."""

import asyncio
from typing import Any

import discord
import pytest
from simcord.builders import ChannelHandle

from bot import webhooks
from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.errors import EngineBusy
from persona_chat.persona import Persona
from persona_chat.place import Scope
from persona_chat.settings import Settings, load_settings
from persona_chat.store.store import Store
from tests.discord_world import World, echo, fill, make_bot, never_pings, told, world
from tests.test_replies import numbered

pytestmark = pytest.mark.usefixtures("webhook_discord")

PICTURE = "https://pictures.example/vera.png"
VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",), avatar_url=PICTURE)
NEMO = Persona("Nemo", "I am a captain.")


def personas(channel: ChannelHandle) -> list[tuple[str, str]]:
    """What was said by webhooks in a channel, and under which name, oldest first."""
    return [(message.author.name, message.content) for message in channel.history() if message.webhook_id is not None]


def sends(here: World) -> list[dict[str, Any]]:
    """What the bot sent by webhooks."""
    sent = [request for request in here.env.http_requests if request.path.startswith("/webhooks/")]
    return [request.json for request in sent if request.method == "POST" and "username" in (request.json or {})]


def count(here: World, method: str, path: str) -> int:
    return sum((request.method, request.path) == (method, path) for request in here.env.http_requests)


def last(channel: ChannelHandle) -> discord.Message:
    message = channel.last_message
    assert message is not None
    return message


def without_webhooks(here: World) -> ChannelHandle:
    """A channel where the bot may not have any."""
    assert here.bot.user is not None
    forbidden = {here.bot.user: discord.PermissionOverwrite(manage_webhooks=False)}
    return here.guild.create_text_channel("plain", overwrites=forbidden)


async def remembered(here: World, channel: ChannelHandle) -> list[str]:
    return [turn.text for turn in await here.bot.chat.history(here.place(channel), 100)]


async def test_each_message_has_the_name_and_the_picture_of_its_persona(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        await here.seat(VERA)
        await here.bot.chat.cast.put(here.place(here.other, here.owner), Scope.CHANNEL, NEMO)
        for channel in (here.talk, here.other, here.talk):
            await here.guest.send(channel, "Hello")
        assert personas(here.talk) == [("Vera", "Vera heard: Hello (1)"), ("Vera", "Vera heard: Hello (3)")]
        assert personas(here.other) == [("Nemo", "Nemo heard: Hello (1)")]
        assert here.bot.user is not None
        own = here.bot.user.display_avatar.url
        assert [sent["avatar_url"] for sent in sends(here)] == [PICTURE, own, PICTURE]
        assert here.said(here.talk) == []
        assert last(here.talk).reference is None
        assert never_pings(here.env) == []
        for channel in (here.talk, here.other):
            assert count(here, "POST", f"/channels/{channel.id}/webhooks") == 1
            assert count(here, "GET", f"/channels/{channel.id}/webhooks") == 1


async def test_another_persona_in_the_channel_leaves_what_was_said_before_as_it_was(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings, webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.seat(NEMO)
        await here.guest.send(here.talk, "And you?")
        assert personas(here.talk) == [("Vera", "Vera heard: Hello (1)"), ("Nemo", "Nemo heard: And you? (1)")]
        assert len(here.env.backend.webhooks) == 1


async def test_a_thread_speaks_by_the_webhook_of_its_channel(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        here.env.backend.create_thread(here.talk.id, "aside", here.guest.id)
        await here.env.settle()
        (thread,) = here.talk.threads
        await here.guest.send(here.talk, "Hello")
        await here.guest.send(thread, "Psst")
        assert personas(thread) == [("Vera", "Psst -> 2")]
        assert len(here.env.backend.webhooks) == 1
        await here.guest.click(last(thread), label="🔁")
        assert personas(thread) == [("Vera", "Psst -> 3")]
        await here.guest.context_menu(thread, "Delete this reply", last(thread))
        assert personas(thread) == []


async def test_without_the_permission_the_name_leads_the_line_and_that_is_said_once(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        plain = without_webhooks(here)
        await here.env.settle()
        (line,) = told(await here.owner.slash(plain, "persona set", name="Vera", about="A keeper."))
        assert line.content.count("-# Vera speaks here under my name. With the permission Manage Webhooks") == 1
        asked = await here.guest.send(plain, "Hello")
        assert here.said(plain)[1:] == ["**Vera:** Hello -> 1"]
        reference = last(plain).reference
        assert reference is not None
        assert reference.message_id == asked.id
        await here.guest.click(last(plain), label="🔁")
        assert here.said(plain)[1:] == ["**Vera:** Hello -> 2"]
        assert await remembered(here, plain) == ["Hello", "Hello -> 2"], "the name is not what it said"
        (line,) = told(await here.owner.slash(plain, "persona set", name="Nemo", about="A captain."))
        assert "Manage Webhooks" not in line.content
        (line,) = told(await here.owner.slash(here.talk, "persona set", name="Nemo"))
        assert "Manage Webhooks" not in line.content, "there it has the permission"
        assert never_pings(here.env) == []
        assert count(here, "GET", f"/channels/{plain.id}/webhooks") == 0


async def test_the_status_names_the_permission_where_it_is_missing(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        plain = without_webhooks(here)
        await here.env.settle()
        for channel, lacking in ((plain, "Manage Webhooks"), (here.talk, "none")):
            (card,) = told(await here.owner.slash(channel, "status"))
            fields = {field.name: field.value for field in card.embeds[0].fields}
            assert fields["Missing permissions"] == lacking


async def test_a_persona_called_as_the_bot_needs_no_name_before_it(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        plain = without_webhooks(here)
        await here.env.settle()
        assert here.bot.user is not None
        named = Persona(here.bot.user.name.upper(), "I am the bot.")
        await here.bot.chat.cast.put(here.place(plain, here.owner), Scope.CHANNEL, named)
        await here.guest.send(plain, "Hello")
        assert here.said(plain) == [f"{named.name} heard: Hello (1)"]


async def test_direct_messages_are_answered_by_the_bot(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        friend = here.env.create_user("friend")
        await friend.slash("persona set", name="Nemo", about="A captain.")
        await friend.send_dm("Ahoy")
        assert last(friend.dm_channel).content == "Nemo heard: Ahoy (1)"
        assert here.env.backend.webhooks == {}


async def test_with_the_setting_off_everything_is_as_it_was(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=False) as here:
        plain = without_webhooks(here)
        await here.env.settle()
        (line,) = told(await here.owner.slash(plain, "persona set", name="Vera", about="A keeper."))
        assert "Manage Webhooks" not in line.content
        await here.guest.send(plain, "Hello")
        assert here.said(plain)[1:] == ["Vera heard: Hello (1)"]
        (card,) = told(await here.owner.slash(plain, "status"))
        assert {field.name: field.value for field in card.embeds[0].fields}["Missing permissions"] == "none"


async def test_a_channel_with_fifteen_webhooks_is_asked_again_only_after_a_while(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(store, settings, webhooks=True) as here:
        await here.seat(VERA)
        path = f"/channels/{here.talk.id}/webhooks"
        here.env.inject_error("POST", path, status=400, code=30007, message="Maximum number of webhooks reached (15)")
        for _ in range(2):
            await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == ["**Vera:** Vera heard: Hello (1)", "**Vera:** Vera heard: Hello (3)"]
        assert count(here, "POST", path) == 1
        monkeypatch.setattr(webhooks, "AGAIN_S", 0)
        here.bot.faces._webhooks._again_at.clear()
        await here.guest.send(here.talk, "Hello")
        assert personas(here.talk) == [("Vera", "Vera heard: Hello (5)")]


async def test_a_webhook_that_somebody_deletes_is_made_again(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        first = last(here.talk)
        here.env.backend.delete_webhook(next(iter(here.env.backend.webhooks)))
        await here.guest.send(here.talk, "two")
        assert personas(here.talk)[-1] == ("Vera", "two -> 2")
        assert here.said(here.talk) == []
        await here.guest.click(first, label="🔁")
        assert personas(here.talk) == [("Vera", "two -> 2"), ("Vera", "one -> 3")], "nobody can edit the old one"
        assert await remembered(here, here.talk) == ["one", "one -> 3", "two", "two -> 2"]


async def test_what_a_webhook_is_refused_the_bot_says(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        await here.seat(VERA)
        here.env.inject_error("POST", "/webhooks/*", status=400, code=50035)
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == ["**Vera:** Vera heard: Hello (1)"]
        await here.guest.send(here.talk, "Again")
        assert personas(here.talk) == [("Vera", "Vera heard: Again (3)")]


async def test_lines_that_are_not_the_personas_are_the_bots(store: Store, settings: Settings) -> None:
    async with world(store, settings, ScriptedEngine(lambda _request: EngineBusy()), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == [str(EngineBusy())]
        assert personas(here.talk) == []


async def test_whom_it_answers_is_said_where_the_channel_moved_on(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        other = here.guild.add_member(here.env.create_user("other", global_name="*Olive*"))
        await here.env.settle()
        await here.post_at_once(here.talk, [here.guest.id, other.id], ["one", "two"])
        assert personas(here.talk) == [("Vera", "-# ↪ Gus\none -> 1"), ("Vera", "-# ↪ \\*Olive\\*\ntwo -> 2")]
        await here.guest.click(here.talk.history()[2], label="🔁")
        assert personas(here.talk)[0] == ("Vera", "-# ↪ Gus\none -> 3")
        assert await remembered(here, here.talk) == ["one", "one -> 3", "two", "two -> 2"]


async def test_a_reply_to_what_a_persona_said_is_for_it_also_after_a_restart(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        await here.seat(VERA)
        await here.owner.slash(here.talk, "chat mode", answer="mention")
        assert here.bot.user is not None
        await here.guest.send(here.talk, f"{here.bot.user.mention} Hello")
        first = last(here.talk)
        await here.guest.send(here.talk, "unasked")
        await here.guest.send(here.talk, "Really?", reply_to=first)
        assert personas(here.talk)[-1] == ("Vera", "Vera heard: Really? (3)")
        again = make_bot(store, settings, webhooks=True)
        await again.chat.start()
        await here.env.restart_bot(again)
        await here.guest.send(here.talk, "And now?", reply_to=first)
        assert personas(here.talk)[-1] == ("Vera", "Vera heard: And now? (5)")
        assert len(here.env.backend.webhooks) == 1, "it finds the one it made before"
        await here.guest.click(first, label="🔁")
        assert personas(here.talk)[0][1] == "Vera heard: Hello (1)"


async def test_no_webhook_is_ever_answered_and_that_of_another_bot_never_used(store: Store, settings: Settings) -> None:
    engine = ScriptedEngine(echo)
    async with world(store, settings, engine, webhooks=True) as here:
        await here.seat(VERA)
        robot = here.guild.add_member(here.env.create_user("robot", bot=True))
        theirs = here.env.backend.create_webhook(here.talk.id, "persona chat", robot.id)
        await here.guest.send(here.talk, "Hello")
        (ours,) = [hook for hook in here.env.backend.webhooks.values() if hook.id != theirs.id]
        assert here.bot.user is not None
        assert ours.creator_id == here.bot.user.id
        assert last(here.talk).webhook_id == ours.id
        for hook in (theirs, ours):
            here.env.backend.create_message(
                here.talk.id, hook.webhook_user_id, f"{here.bot.user.mention} Hello", webhook_id=hook.id
            )
        await here.env.settle()
        foreign = here.talk.history()[-2]
        await here.owner.slash(here.talk, "chat mode", answer="mention")
        await here.guest.send(here.talk, "You there!", reply_to=foreign)
        assert len(engine.requests) == 1


async def test_what_is_sent_twice_stands_there_once(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = discord.Webhook.send

    async def twice(self: discord.Webhook, content: str, **how: Any) -> Any:
        await once(self, content, **how)  # discord.py did not hear that it arrived
        await asyncio.sleep(0)
        return await once(self, content, **how)

    async with world(store, settings, ScriptedEngine(lambda _request: "Yes."), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        monkeypatch.setattr(discord.Webhook, "send", twice)
        await here.guest.send(here.talk, "Hello")
        assert personas(here.talk) == [("Vera", "Yes."), ("Vera", "Yes.")], "the same words for another message stay"
        assert await remembered(here, here.talk) == ["Hello", "Yes.", "Hello", "Yes."]


async def test_an_event_that_comes_late_is_not_taken_for_a_second_message(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = discord.Webhook.send

    async def late(self: discord.Webhook, content: str, **how: Any) -> Any:
        here.bot.faces.heard(first)  # the same words, said before
        return await send(self, content, **how)

    async with world(store, settings, ScriptedEngine(lambda _request: "Yes."), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        first = last(here.talk)
        monkeypatch.setattr(discord.Webhook, "send", late)
        await here.guest.send(here.talk, "Hello")
        assert personas(here.talk) == [("Vera", "Yes."), ("Vera", "Yes.")]


async def test_names_that_discord_refuses_are_made_legal(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        for name in ("Clyde", "dIsCoRd bot", "🦜" * 80):
            await here.seat(Persona(name, "I am I."))
            await here.guest.send(here.talk, "Hello")
        assert [name for name, _ in personas(here.talk)] == ["Cly-de", "dIs-CoRd bot", "🦜" * 40]


async def test_the_greeting_has_the_face_too(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        greeting = Persona("Vera", "A keeper.", greeting="Mind the stairs, @everyone!")
        await here.bot.chat.cast.create(here.place(here.talk).home, greeting, here.owner.id)
        await here.owner.slash(here.talk, "persona set", name="Vera")
        assert personas(here.talk)[-1] == ("Vera", "Mind the stairs, @everyone!")
        assert never_pings(here.env) == []


async def test_a_picture_is_set_shown_kept_and_taken_away(store: Store, settings: Settings) -> None:
    async with world(store, settings, webhooks=True) as here:
        form = await here.owner.slash(here.talk, "persona create", avatar=PICTURE)
        (shown,) = told(await fill(here.owner, form, "Vera", "A keeper.", "", ""))
        assert shown.embeds[0].thumbnail.url == PICTURE
        await here.owner.click(shown, label="Save")
        await here.owner.slash(here.talk, "persona set", name="vera", about="A keeper of lamps.")
        await here.guest.send(here.talk, "Hello")
        assert sends(here)[-1]["avatar_url"] == PICTURE, "other words leave the picture"
        form = await here.owner.slash(here.talk, "persona edit", name="Vera", avatar="none")
        (shown,) = told(await fill(here.owner, form, "Vera", "A keeper.", "", ""))
        await here.owner.click(shown, label="Save")
        await here.guest.send(here.talk, "Hello")
        assert sends(here)[-1]["avatar_url"] != PICTURE
        (history,) = told(await here.guest.slash(here.talk, "persona history", name="Vera"))
        assert "no picture any more" in str(history.embeds[0].description)
        (refused,) = told(
            await here.owner.slash(here.talk, "persona edit", name="Vera", avatar="http://x.example/a.png")
        )
        assert "https://" in refused.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_mentions_in_names_and_words_ping_nobody(store: Store, settings: Settings) -> None:
    def pings(request: ReplyRequest) -> str:
        return f"@everyone <@{here.guest.id}> <@&{here.guild.default_role.id}>"

    async with world(store, settings, ScriptedEngine(pings), webhooks=True) as here:
        plain = without_webhooks(here)
        await here.env.settle()
        everyone = Persona("@everyone", "I am all.")
        for channel in (here.talk, plain):
            await here.bot.chat.cast.put(here.place(channel, here.owner), Scope.CHANNEL, everyone)
            await here.guest.send(channel, "Hello")
            await here.guest.click(last(channel), label="🔁")
        assert len(personas(here.talk)) == len(here.said(plain)) == 1
        assert never_pings(here.env) == []


def test_the_setting_is_on_unless_it_is_turned_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.webhooks
    monkeypatch.setenv("PERSONA_CHAT_WEBHOOKS", "false")
    assert not load_settings(data_dir=settings.data_dir).webhooks

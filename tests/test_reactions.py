"""Reactions to replies, through the real discord.py against simcord: ❌ takes away, ❓ tells who is behind it."""

from typing import Any

import discord
import pytest
from simcord.builders import ChannelHandle

from bot.client import intents
from persona_chat.persona import Persona
from persona_chat.place import Scope
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, make_bot, never_pings, world
from tests.test_faces import last, personas, remembered
from tests.test_replies import numbered

pytestmark = pytest.mark.usefixtures("webhook_discord")

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


def direct(person: Any) -> list[discord.Message]:
    """What the bot told somebody by direct message."""
    channel = person.user.dm_channel
    return [message for message in channel.history() if message.author.bot] if channel is not None else []


def without_manage_messages(here: World) -> ChannelHandle:
    assert here.bot.user is not None
    forbidden = {here.bot.user: discord.PermissionOverwrite(manage_messages=False)}
    return here.guild.create_text_channel("narrow", overwrites=forbidden)


@pytest.mark.parametrize("webhooks", [True, False])
async def test_who_asked_takes_a_reply_away_with_a_reaction(store: Store, settings: Settings, webhooks: bool) -> None:
    async with world(store, settings, numbered(), webhooks=webhooks) as here:
        await here.seat(VERA)
        for text in ("one", "two"):
            await here.guest.send(here.talk, text)
        await here.guest.react(last(here.talk), "❌")
        assert [content for _, content in personas(here.talk)] + here.said(here.talk) == ["one -> 1"]
        assert await remembered(here, here.talk) == ["one", "one -> 1"]


async def test_a_moderator_may_and_nobody_else_and_no_bot(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        moderators = here.guild.create_role("moderators", permissions=discord.Permissions(manage_messages=True))
        moderator = here.guild.add_member(here.env.create_user("moderator"), roles=[moderators])
        robot = here.guild.add_member(here.env.create_user("robot", bot=True), roles=[moderators])
        other = here.guild.add_member(here.env.create_user("other"))
        for person in (other, robot):
            await person.react(last(here.talk), "❌")
            assert personas(here.talk) == [("Vera", "one -> 1")]
        await moderator.react(last(here.talk), "❌")
        assert personas(here.talk) == []
        assert await remembered(here, here.talk) == []


async def test_other_reactions_and_other_messages_are_left_alone(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        asked = await here.guest.send(here.talk, "one")
        chatter = await here.guest.send(here.other, "to nobody")
        await here.guest.react(last(here.talk), "👍")
        for emoji in ("❌", "❓"):
            await here.guest.react(chatter, emoji)
        assert personas(here.talk) == [("Vera", "one -> 1")]
        assert direct(here.guest) == []
        for emoji in ("❌", "❓"):
            await here.guest.react(asked, emoji)
        assert direct(here.guest) == [], "that is the question, not the reply"
        assert len(here.talk.history()) == 2


async def test_whoever_asks_is_told_who_is_behind_it(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.owner.slash(here.talk, "persona set", name="Vera", about="I keep a lighthouse.")
        await here.guest.send(here.talk, "one")
        curious = here.guild.add_member(here.env.create_user("curious"))
        await curious.react(last(here.talk), "❓")
        (told,) = direct(curious)
        assert here.bot.user is not None
        assert told.content.startswith(f"**Vera** is a persona of <@{here.bot.user.id}>, a bot.")
        assert "language model" in told.content
        assert f"<@{here.owner.id}> set it for the channel." in told.content
        assert "Gus: one" in str([field.value for field in told.embeds[0].fields])
        assert last(here.talk).reactions == [], "it is taken back, for the next time"
        await curious.react(last(here.talk), "❓")
        assert len(direct(curious)) == 2
        assert never_pings(here.env) == []


async def test_the_reaction_stays_where_the_bot_may_not_take_it_back(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        narrow = without_manage_messages(here)
        await here.env.settle()
        await here.bot.chat.cast.put(here.place(narrow, here.owner), Scope.CHANNEL, VERA)
        await here.guest.send(narrow, "one")
        await here.guest.react(last(narrow), "❓")
        assert len(direct(here.guest)) == 1
        assert [reaction.emoji for reaction in last(narrow).reactions] == ["❓"]
        await here.guest.react(last(narrow), "❌")
        assert personas(narrow) == [], "what a webhook said can go without that permission"


async def test_who_takes_no_direct_messages_is_told_nothing(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        here.env.inject_error("POST", "/users/@me/channels", status=403, code=50007)
        await here.guest.react(last(here.talk), "❓")
        assert direct(here.guest) == []
        assert last(here.talk).reactions == []


async def test_it_works_in_direct_messages_and_after_a_restart(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        friend = here.env.create_user("friend")
        await friend.slash("persona set", name="Nemo", about="A captain.")
        await friend.send_dm("Ahoy")
        again = make_bot(store, settings, webhooks=True)
        await again.chat.start()
        await here.env.restart_bot(again)
        channel = friend.dm_channel
        answer = channel.last_message
        assert answer is not None
        here.env.backend.set_reaction(channel.id, answer.id, "❓", friend.id, True)
        await here.env.settle()
        told = channel.last_message
        assert told is not None
        assert "**Nemo** is a persona of" in told.content
        here.env.backend.set_reaction(channel.id, answer.id, "❌", friend.id, True)
        await here.env.settle()
        assert answer.id not in [message.id for message in channel.history()]


async def test_a_persona_that_left_is_still_named_but_not_who_set_it(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered(), webhooks=True) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "one")
        reply = last(here.talk)
        await here.seat(Persona("Nemo", "A captain."))
        await here.guest.react(reply, "❓")
        (told,) = direct(here.guest)
        assert "**Vera** is a persona" in told.content
        assert "set it for" not in told.content


def test_the_intents_are_not_privileged() -> None:
    wanted = intents(message_content=False)
    assert wanted.guild_reactions
    assert wanted.dm_reactions
    assert not any((wanted.members, wanted.presences, wanted.message_content))

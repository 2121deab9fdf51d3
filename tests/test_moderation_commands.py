"""`/moderation` channels and roles, through the real discord.py against simcord: allowed and refused."""

import discord
import pytest

from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, fill, never_pings, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


def mention(here: World) -> str:
    assert here.bot.user is not None
    return f"<@{here.bot.user.id}> Hello"


async def line_of(here: World, person: object, command: str, **options: object) -> str:
    (line,) = told(await person.slash(here.talk, command, **options))  # type: ignore[attr-defined]
    assert line.ephemeral
    here.env._errors_acknowledged = here.env.error_cursor
    return str(line.content)


async def test_a_denied_channel_is_silence(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        line = await line_of(here, here.owner, "moderation channels", action="deny", channel=here.talk)
        assert line == f"**Channels**: I talk in every channel.\nI never talk in <#{here.talk.id}>."
        sent = await here.guest.send(here.talk, "Hello")
        for person in (here.guest, here.owner):
            await person.send(here.talk, mention(here))
        await here.guest.edit(sent, "Hello again")
        assert here.said(here.talk) == []
        assert store.talk(here.place(here.talk), 10)[1] == (), "nothing was kept"
        await here.guest.send(here.other, mention(here))
        assert len(here.said(here.other)) == 1
        assert (await line_of(here, here.owner, "moderation channels", action="clear", channel=here.talk)).endswith(
            "every channel."
        )
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == ["Vera heard: Hello (1)"]


async def test_what_would_be_said_in_a_denied_channel_is_refused(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        reply = here.talk.last_message
        await line_of(here, here.owner, "moderation channels", action="allow", channel=here.other)
        for name, options in (
            ("persona set", {"name": "Nemo", "about": "A captain."}),
            ("persona clear", {}),
            ("chat mode", {"answer": "every"}),
            ("chat reset", {}),
        ):
            assert "let me talk in other channels only" in await line_of(here, here.owner, name, **options)
        (line,) = told(await here.guest.context_menu(here.talk, "Regenerate", reply))
        assert "in other channels only" in line.content
        (line,) = told(await here.guest.click(reply, label="🔁"))
        assert "in other channels only" in line.content
        for name in ("help", "privacy show", "persona show", "persona list", "chat context"):
            (line,) = told(await here.guest.slash(here.talk, name))
            assert "in other channels" not in line.content, name
        (card,) = told(await here.owner.slash(here.talk, "status"))
        assert "in other channels only" in str(card.embeds[0].to_dict())
        here.env._errors_acknowledged = here.env.error_cursor
        (line,) = told(await here.guest.context_menu(here.talk, "Delete this reply", reply))
        assert "is deleted" in line.content, "to take something away is always allowed"
        assert here.said(here.talk) == []
        assert await here.talks_in(here.talk) == VERA


async def test_a_thread_follows_its_channel_unless_it_is_named(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        here.env.backend.create_thread(here.talk.id, "aside", here.guest.id)
        await here.env.settle()
        (thread,) = here.talk.threads
        await line_of(here, here.owner, "moderation channels", action="deny", channel=here.talk)
        await here.guest.send(thread, "Hello")
        assert here.said(thread) == []
        await line_of(here, here.owner, "moderation channels", action="allow", channel=thread)
        await here.guest.send(thread, "Hello")
        assert here.said(thread) == ["Vera heard: Hello (1)"]
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk) == []


async def test_a_denied_role_is_not_talked_to_and_keeps_its_rights(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        rude = here.guild.create_role("rude")
        boss = here.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
        troll = here.guild.add_member(here.env.create_user("troll"), roles=[rude])
        manager = here.guild.add_member(here.env.create_user("manager"), roles=[rude, boss])
        await here.env.settle()
        assert f"never talk to <@&{rude.id}>" in await line_of(
            here, here.owner, "moderation roles", action="deny", role=rude
        )
        await troll.send(here.talk, "Hello")
        await troll.send(here.talk, mention(here))
        assert here.said(here.talk) == []
        await manager.send(here.talk, "Hello")
        await here.guest.send(here.talk, "Hi")
        assert here.said(here.talk) == ["Vera heard: Hello (1)", "Vera heard: Hi (3)"]
        for name, options in (
            ("persona show", {}),
            ("persona test", {"name": "Vera", "message": "Hello"}),
            ("persona create", {"for_me": True}),
            ("chat context", {}),
        ):
            assert "with your roles" in await line_of(here, troll, name, **options)
        for name in ("help", "privacy show", "privacy opt-in"):
            (line,) = told(await troll.slash(here.talk, name))
            assert "with your roles" not in line.content, name
        assert (await troll.slash(here.talk, "report")).modal is not None
        await line_of(here, here.owner, "moderation channels", action="deny", channel=here.talk)
        assert "with your roles" in await line_of(here, troll, "persona test", name="Vera", message="Hello")
        for name in ("persona show", "moderation show"):
            (line,) = told(await manager.slash(here.talk, name))
            assert "with your roles" not in line.content, name


async def test_only_an_allowed_role_is_talked_to(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        friend = here.guild.create_role("friend")
        pal = here.guild.add_member(here.env.create_user("pal"), roles=[friend])
        await here.env.settle()
        await line_of(here, here.owner, "moderation roles", action="allow", role=friend)
        await here.guest.send(here.talk, "Hello")
        await pal.send(here.talk, "Hi")
        await here.owner.send(here.talk, "Ahoy")
        assert here.said(here.talk) == ["Vera heard: Hi (1)", "Vera heard: Ahoy (3)"]
        await line_of(here, here.owner, "moderation roles", action="clear")
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1] == "Vera heard: Hello (5)"


async def test_show_says_everything_in_plain_words(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        (nothing,) = told(await here.owner.slash(here.talk, "moderation show"))
        assert nothing.ephemeral
        assert (nothing.embeds[0].description or "").splitlines() == [
            "**Channels**: I talk in every channel.",
            "**Roles**: I talk to everybody.",
            "**Word filter**: off (my own list).",
            "**Log**: none.",
            "**Open reports**: 0.",
        ]
        rude = here.guild.create_role("rude")
        await here.env.settle()
        await line_of(here, here.owner, "moderation channels", action="allow", channel=here.other)
        await line_of(here, here.owner, "moderation channels", action="deny", channel=here.talk)
        await line_of(here, here.owner, "moderation roles", action="deny", role=rude)
        await line_of(here, here.owner, "moderation log", channel=here.other)
        await fill(here.owner, await here.owner.slash(here.talk, "moderation words"), "plum\npear")
        await line_of(here, here.owner, "moderation filter", reads="both", built_in=False)
        (shown,) = told(await here.owner.slash(here.talk, "moderation show"))
        assert (shown.embeds[0].description or "").splitlines() == [
            f"**Channels**: I talk only in <#{here.other.id}>.",
            f"I never talk in <#{here.talk.id}>.",
            "**Roles**: I talk to everybody.",
            f"I never talk to <@&{rude.id}>.",
            "-# Whoever manages this server can always talk to me.",
            "**Word filter**: what people say to me, and what personas say (2 words of yours).",
            f"**Log**: <#{here.other.id}>.",
            "**Open reports**: 0.",
        ]
        assert never_pings(here.env) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("channels", {"action": "deny"}),
        ("roles", {"action": "allow"}),
        ("filter", {"reads": "both"}),
        ("words", {}),
        ("log", {"off": True}),
        ("show", {}),
    ],
)
async def test_it_takes_manage_server(store: Store, settings: Settings, name: str, options: dict[str, object]) -> None:
    async with world(store, settings) as here:
        assert "Manage Server" in await line_of(here, here.guest, f"moderation {name}", **options)
        friend = here.env.create_user("friend")
        (line,) = told(await friend.slash(f"moderation {name}", **options))
        assert line.content == "That only works in a server."
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_channel_is_needed_unless_all_are_cleared(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for what in ("channel", "role"):
            line = await line_of(here, here.owner, f"moderation {what}s", action="deny")
            assert line == f"Name the {what} as well."
            await line_of(here, here.owner, f"moderation {what}s", action="clear")

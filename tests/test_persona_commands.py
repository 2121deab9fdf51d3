"""`/persona` in Discord, through the real discord.py against simcord: who talks where, and the personas there are."""

import discord
import pytest

from bot.command_table import rows
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import fill, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))
NEMO = Persona("Nemo", "I live in a submarine.", (), "Welcome aboard!")


async def test_show_and_clear_say_who_talks_and_that_it_left(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for command in ("persona show", "persona clear"):
            nobody = await here.owner.slash(here.talk, command)
            assert nobody.ephemeral
            assert nobody.response is not None
            assert "Nobody talks here" in nobody.response.content

        await here.owner.slash(here.talk, "persona set", name="Vera", facts="I have a parrot. I sail.")
        shown = await here.guest.slash(here.talk, "persona show")
        assert shown.ephemeral
        assert shown.response is not None
        assert shown.response.embeds[0].title == "Vera"
        assert shown.response.embeds[0].description == "• I have a parrot.\n• I sail."

        cleared = await here.owner.slash(here.talk, "persona clear")
        assert cleared.response is not None
        assert "**Vera** has left" in cleared.response.content
        before = len(here.said(here.talk))
        await here.guest.send(here.talk, "Still there?")
        assert len(here.said(here.talk)) == before


async def test_without_options_a_form_opens_with_what_is_there(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        form = await here.owner.slash(here.talk, "persona set")
        assert form.modal is not None
        assert "I keep a lighthouse." in str(form.modal)
        done = await fill(here.owner, form, "Nemo", "I live in a submarine.", "I hate the surface.\nI play the organ.")
        assert done.response is not None
        assert "**Nemo** is talking here now, in place of **Vera**." in done.response.content
        assert await here.talks_in(here.talk) == Persona(
            "Nemo", "I live in a submarine.", ("I hate the surface.", "I play the organ.")
        )


async def test_setting_the_same_persona_twice_is_no_error(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for expected in ("is talking here now", "is talking here already"):
            result = await here.owner.slash(here.talk, "persona set", name="Vera", about="A keeper.")
            assert result.response is not None
            assert expected in result.response.content


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "Nemo"}, "no persona called Nemo"),
        ({"name": "Nemo", "about": " "}, "Say something about the persona"),
        ({"about": "I keep a lighthouse."}, "needs a name"),
        ({"name": "\u200b", "about": "x"}, "a name that can be read"),
        ({"name": "V", "facts": "\n".join(f"I know {number}." for number in range(10_000))[:6000]}, "50 are allowed"),
        ({"name": "V", "about": "word " * 700}, "tokens and 640 fit"),
    ],
)
async def test_a_persona_that_cannot_be_is_refused_privately_and_nothing_changes(
    store: Store, settings: Settings, options: dict[str, str], says: str
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        result = await here.owner.slash(here.talk, "persona set", **options)
        assert [says in line.content and line.ephemeral for line in told(result)] == [True]
        assert await here.talks_in(here.talk) == VERA
        assert here.env.errors  # simcord notes what the funnel caught
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_persona_may_be_called_by_an_emoji(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.owner.slash(here.talk, "persona set", name="🦜", about="I am a parrot.")
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1] == "🦜 heard: Hello (1)"


async def test_what_is_not_given_stays_as_it_is(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(NEMO)
        await here.owner.slash(here.talk, "persona set", name="Nemo", facts="I have a cat. I am old.")
        facts = ("I have a cat.", "I am old.")
        assert await here.talks_in(here.talk) == Persona("Nemo", NEMO.about, facts, NEMO.greeting)
        await here.owner.slash(here.talk, "persona set", name="Nemo", about="I live in a tower.")
        assert await here.talks_in(here.talk) == Persona("Nemo", "I live in a tower.", facts, NEMO.greeting)


async def test_scopes_and_where_a_persona_came_from(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for persona in (VERA, NEMO):
            await here.bot.chat.cast.create(here.place(here.talk).home, persona, here.owner.id)
        await here.owner.slash(here.talk, "persona set", name="Vera", scope="server")
        quiet = await here.guest.slash(here.talk, "persona set", name="Nemo", scope="me")
        assert [(line.content, line.ephemeral) for line in told(quiet)] == [
            ("**Nemo** answers you now, wherever you talk.", True)
        ]
        said = len(here.said(here.talk))
        await here.guest.send(here.talk, "Not to anybody.")
        assert len(here.said(here.talk)) == said, "for a server or a person it answers where it is spoken to"
        me = f"<@{here.bot.user.id}>"  # type: ignore[union-attr]
        await here.guest.send(here.talk, f"{me} Hello")
        await here.owner.send(here.talk, f"{me} Hello")
        assert here.said(here.talk)[said:] == ["Nemo heard: Hello (1)", "Vera heard: Hello (1)"]
        for person, came in ((here.guest, "Set for you"), (here.owner, "Set for this server")):
            (shown,) = told(await person.slash(here.talk, "persona show"))
            assert shown.content.startswith(came)
        await here.guest.slash(here.talk, "persona clear", scope="me")
        assert await here.talks_in(here.talk) == VERA


async def test_a_thread_follows_its_channel_unless_it_has_its_own(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        here.env.backend.create_thread(here.talk.id, "aside", here.guest.id)
        await here.env.settle()
        (thread,) = here.talk.threads
        await here.guest.send(thread, "Hello")
        assert here.said(thread) == ["Vera heard: Hello (1)"]
        (line,) = told(await here.guest.slash(thread, "persona set", name="Vera"))
        assert "**Vera** is talking here now" in line.content, "whose thread it is may choose"
        (line,) = told(await here.owner.slash(thread, "persona set", name="Nemo", about="I dive."))
        assert "**Nemo** is talking here now" in line.content
        await here.guest.send(thread, "And you?")
        assert here.said(thread)[-1] == "Nemo heard: And you? (1)"
        await here.guest.send(here.talk, "Still you?")
        assert here.said(here.talk)[-1] == "Vera heard: Still you? (1)"


async def test_who_may_do_what(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.bot.chat.cast.create(here.place(here.talk).home, NEMO, here.owner.id)
        refused = [
            ("persona set", {"name": "Nemo"}, "Manage Channels"),
            ("persona set", {"name": "Nemo", "scope": "server"}, "Manage Server"),
            ("persona set", {}, "Manage Channels"),
            ("persona clear", {}, "Manage Channels"),
            ("persona create", {}, "for_me"),
            ("persona edit", {"name": "Nemo"}, "Manage Server"),
            ("persona undo", {"name": "Nemo"}, "Manage Server"),
            ("persona delete", {"name": "Nemo"}, "Manage Server"),
        ]
        for command, options, says in refused:
            result = await here.guest.slash(here.talk, command, **options)
            assert result.modal is None
            assert [says in line.content and line.ephemeral for line in told(result)] == [True], command
        for command, options in (("list", {}), ("show", {"name": "Nemo"}), ("history", {"name": "Nemo"})):
            (line,) = told(await here.guest.slash(here.talk, f"persona {command}", **options))
            assert line.ephemeral
            assert line.embeds
        (heard,) = told(await here.guest.slash(here.talk, "persona test", name="Nemo", message="Hello"))
        assert heard.content.endswith("**Nemo**: Nemo heard: Hello (1)")
        assert await here.talks_in(here.talk) == VERA
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_was_opened_earlier_asks_again_who_may(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        rights = discord.Permissions(manage_channels=True, manage_guild=True)
        role = here.guild.create_role("boss", permissions=rights)
        boss = here.guild.add_member(here.env.create_user("boss"), roles=[role])
        home = here.place(here.talk).home
        for persona in (VERA, NEMO):
            await here.bot.chat.cast.create(home, persona, here.owner.id)
        form = await boss.slash(here.talk, "persona set")
        made = told(await fill(boss, await boss.slash(here.talk, "persona create"), "Ann", "I bake."))[-1]
        edit = await boss.slash(here.talk, "persona edit", name="Vera")
        edited = told(await fill(boss, edit, "Vera", "I am a pirate."))[-1]
        question = told(await boss.slash(here.talk, "persona delete", name="Vera"))[-1]
        last = told(await boss.slash(here.talk, "persona delete", name="Nemo"))[-1]
        gone = told(await boss.click(last, label="Delete"))[-1]
        here.env.backend.remove_member_role(here.guild.id, boss.id, role.id)
        await here.env.settle()
        for line in (
            told(await fill(boss, form, "Vera", *("I keep a lighthouse.", "I have a parrot.")))[-1],
            told(await boss.click(made, label="Save"))[-1],
            told(await boss.click(edited, label="Save"))[-1],
            told(await boss.click(question, label="Delete"))[-1],
            told(await boss.click(gone, label="Undo"))[-1],
        ):
            assert "Manage" in line.content
            assert line.ephemeral
        assert await here.talks_in(here.talk) is None
        assert [kept.persona for kept in await here.bot.chat.cast.list(home)] == [VERA]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_what_was_opened_earlier_follows_the_lists(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        role = here.guild.create_role("boss", permissions=discord.Permissions(manage_channels=True))
        boss = here.guild.add_member(here.env.create_user("boss"), roles=[role])
        form = await boss.slash(here.talk, "persona set")
        made = told(await fill(boss, await boss.slash(here.talk, "persona create"), "Ann", "I bake."))[-1]
        trial = await boss.click(made, label="Try it")
        await here.owner.slash(here.talk, "moderation channels", action="deny", channel=here.talk)
        line = told(await fill(boss, form, "Vera", "I keep a lighthouse."))[-1]
        assert "in other channels only" in line.content
        await here.owner.slash(here.talk, "moderation roles", action="deny", role=role)
        for line in (
            told(await boss.click(made, label="Save"))[-1],
            told(await fill(boss, trial, "Hello"))[-1],
        ):
            assert "with your roles" in line.content
        assert await here.talks_in(here.talk) is None
        assert await here.bot.chat.cast.list(here.place(here.talk).home) == ()
        here.env._errors_acknowledged = here.env.error_cursor


async def test_who_opted_out_tries_none(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.bot.privacy.opt_out(here.guest.id)
        (line,) = told(await here.guest.slash(here.talk, "persona test", name="Vera", message="Hello"))
        assert line.content.startswith("You opted out, so I answer nothing for you.")
        here.env._errors_acknowledged = here.env.error_cursor


async def test_names_in_refusals_are_not_formatted(store: Store, settings: Settings) -> None:
    name, plain = "[Free](https://evil.example) *x*", "\\[Free](https://evil.example) \\*x\\*"
    evil = Persona(name, "I am old.", age_restricted=True)
    async with world(store, settings) as here:
        home, cast = here.place(here.talk).home, here.bot.chat.cast
        await cast.create(home, evil, here.owner.id)
        await cast.create(home, Persona("Nemo", "I dive."), here.owner.id)
        await here.owner.slash(here.talk, "persona guest invite", name="Nemo", trigger="*so*")
        for person, command, options in (
            (here.guest, "persona edit", {"name": name}),
            (here.owner, "persona undo", {"name": name}),
            (here.owner, "persona set", {"name": name}),
            (here.guest, "persona test", {"name": f"{name}!", "message": "Hello"}),
        ):
            (line,) = told(await person.slash(here.talk, command, **options))
            assert plain in line.content, command
        (draft,) = told(await fill(here.owner, await here.owner.slash(here.talk, "persona create"), name, "I."))
        assert plain in told(await here.owner.click(draft, label="Save"))[-1].content
        await cast.create(home, Persona("Ann", "I bake."), here.owner.id)
        (line,) = told(await here.owner.slash(here.talk, "persona guest invite", name="Ann", trigger="*so*"))
        assert "Nemo answers to “\\*so\\*” here already" in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_everybody_has_personas_of_their_own(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        form = await here.guest.slash(here.talk, "persona create", for_me=True)
        (draft,) = told(await fill(here.guest, form, "Nemo", "I dive."))
        await here.guest.click(draft, label="Save")
        (choice,) = await here.guest.autocomplete(here.talk, "persona edit", "name", "")
        assert choice["name"] == "Nemo (yours)"
        assert await here.owner.autocomplete(here.talk, "persona edit", "name", "") == []
        form = await here.guest.slash(here.talk, "persona edit", name=choice["value"])
        assert "I dive." in str(form.modal)
        await here.guest.slash(here.talk, "persona set", name="Nemo", scope="me")
        assert (await here.talks_in(here.talk)) == Persona("Nemo", "I dive.")
        assert await here.talks_in(here.talk, here.owner) is None


async def test_age_restricted_personas_talk_only_in_such_channels(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        late = here.guild.create_text_channel("late")
        await here.env.settle()
        channel = here.bot.get_channel(late.id)
        assert isinstance(channel, discord.TextChannel)
        channel.nsfw = True  # the simulator knows no such channels
        form = await here.owner.slash(here.talk, "persona create", age_restricted=True)
        (draft,) = told(await fill(here.owner, form, "Vera", "I tell tales for adults."))
        await here.owner.click(draft, label="Save")
        for command, options in (("set", {}), ("test", {"message": "Hello"})):
            (line,) = told(await here.owner.slash(here.talk, f"persona {command}", name="Vera", **options))
            assert "age-restricted in Discord's channel settings" in line.content
        assert await here.talks_in(here.talk) is None
        await here.owner.slash(late, "persona set", name="Vera")
        await here.guest.send(late, "Hello")
        assert here.said(late)[-1] == "Vera heard: Hello (1)"

        channel.nsfw = False
        before = len(here.said(late))
        await here.guest.send(late, "Hello again")
        assert len(here.said(late)) == before, "nobody was asked, so nobody is told at every message"
        me = f"<@{here.bot.user.id}>"  # type: ignore[union-attr]
        await here.guest.send(late, f"{me} Hello")
        assert "age-restricted" in here.said(late)[-1]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_long_list_has_pages(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        home = here.place(here.talk).home
        for number in range(20):
            await here.bot.chat.cast.create(home, Persona(f"P{number:02}", "word " * 50), here.owner.id)
        (first,) = told(await here.guest.slash(here.talk, "persona list"))
        assert first.embeds[0].footer.text == "Page 1 of 3"
        await here.guest.click(first, label="▶")
        (last,) = told(await here.guest.click(first, label="▶"))
        assert "P19" in (last.embeds[0].description or "")
        assert len(await here.guest.autocomplete(here.talk, "persona show", "name", "p")) == 20
        for number in range(20, 40):
            await here.bot.chat.cast.create(home, Persona(f"P{number:02}", "word"), here.owner.id)
        assert len(await here.guest.autocomplete(here.talk, "persona show", "name", "p")) == 25


async def test_the_commands_are_known_to_discord(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        ours = {row.name[1:] for row in rows(here.bot.tree) if row.name.startswith("/")}
        assert set(here.guest.available_commands(here.talk)) == ours

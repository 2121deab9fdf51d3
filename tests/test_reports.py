"""Reports and the log channel, through simcord: what moderators are told, and what is kept of who told them."""

import json
from typing import Any

import discord
import pytest
from simcord.builders import ChannelHandle

from bot import log_channel
from bot.reports import NOT_MINE, linked
from persona_chat.errors import InputError
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.word_filter import Filtering, Side
from tests.discord_world import World, fill, never_pings, told, world
from tests.people import rows

pytestmark = pytest.mark.both_databases

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))
WORD = "quibblefruit"


async def logged(here: World) -> list[str]:
    """Let moderators be told in the other channel, and answer one message."""
    await here.seat(VERA)
    await here.owner.slash(here.talk, "moderation log", channel=here.other)
    await here.guest.send(here.talk, "A secret")
    return here.said(here.other)


def link_of(here: World, message: Any, channel: ChannelHandle | None = None) -> str:
    return f"https://discord.com/channels/{here.guild.id}/{(channel or here.talk).id}/{message.id}"


async def test_a_report_from_the_menu_reaches_the_log_channel(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        assert await logged(here) == [f"I write here what moderators should know. Set by <@{here.owner.id}>."]
        reply = here.talk.last_message
        form = await here.guest.context_menu(here.talk, "Report", reply)
        (line,) = told(await fill(here.guest, form, "It is **rude**\nand @everyone knows"))
        assert line.ephemeral
        assert line.content.startswith("Thank you. The moderators of this server were told")
        report = here.said(here.other)[-1]
        assert report.startswith(f"**Report 1** by <@{here.guest.id}> · {link_of(here, reply)}\n> ")
        assert "**rude**" not in report
        assert "A secret" not in "".join(here.said(here.other)), "message text is never in it"
        assert never_pings(here.env) == []

        (again,) = told(await fill(here.guest, await here.guest.context_menu(here.talk, "Report", reply), "Once more"))
        assert "already" in again.content
        assert here.said(here.other)[-1] == report
        here.env._errors_acknowledged = here.env.error_cursor

        (refused,) = told(await here.guest.click(here.other.last_message, label="Done"))
        assert "Manage Messages or Manage Server" in refused.content
        here.env._errors_acknowledged = here.env.error_cursor
        await here.owner.click(here.other.last_message, label="Done")
        assert here.said(here.other)[-1].endswith(f"-# Done: <@{here.owner.id}>")
        assert store.reports.open(here.guild.id, 9) == ()


async def test_a_report_from_under_a_reply(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await logged(here)
        reply = here.talk.last_message
        (more,) = told(await here.guest.click(reply, label="⋯"))
        form = await here.guest.click(more, label="Report")
        await fill(here.guest, form, "Odd")
        assert link_of(here, reply) in here.said(here.other)[-1]


async def test_a_report_by_command_with_a_link_and_without(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await logged(here)
        reply = here.talk.last_message
        form = await here.guest.slash(here.other, "report", link=link_of(here, reply))
        await fill(here.guest, form, "Odd")
        assert link_of(here, reply) in here.said(here.other)[-1]
        await fill(here.guest, await here.guest.slash(here.talk, "report"), "It never stops")
        assert f"in <#{here.talk.id}>" in here.said(here.other)[-1]
        far = f"https://discord.com/channels/{here.guild.id}/{2**63}/7"
        for link in ("that one", "https://discord.com/channels/1/2/3", "https://evil.example/channels/1/2/3", far):
            (line,) = told(await here.guest.slash(here.talk, "report", link=link))
            assert line.content.startswith("That is no link to a message in this server")
        friend = here.env.create_user("friend")
        (line,) = told(await friend.slash("report"))
        assert line.content.startswith("In direct messages there are no moderators")
        await here.guest.send(here.talk, "I said that")
        mine = next(message for message in here.talk.history() if message.content == "I said that")
        (line,) = told(await here.owner.context_menu(here.talk, "Report", mine))
        assert line.content == NOT_MINE
        (line,) = told(await here.owner.slash(here.talk, "report", link=link_of(here, mine)))
        assert line.content == NOT_MINE
        gone = f"https://discord.com/channels/{here.guild.id}/{here.talk.id}/7"
        (line,) = told(await here.owner.slash(here.talk, "report", link=gone))
        assert line.content.startswith("I find no message there")
        here.env._errors_acknowledged = here.env.error_cursor


@pytest.mark.parametrize("host", ["discord.com", "ptb.discord.com", "canary.discord.com", "discordapp.com"])
def test_links(host: str) -> None:
    assert linked(f" https://{host}/channels/5/6/7 ", 5) == (6, 7)
    assert linked(f"<https://{host}/channels/5/6/7>", 5) == (6, 7)
    for guild_id in (4, None):
        with pytest.raises(InputError):
            linked(f"https://{host}/channels/5/6/7", guild_id)


async def test_without_a_log_channel_it_is_kept_and_the_person_told_whom_to_ask(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        reply = here.talk.last_message
        form = await here.guest.context_menu(here.talk, "Report", reply)
        (line,) = told(await fill(here.guest, form, "Odd"))
        assert "tell a moderator, or the people who run this bot" in line.content
        moderator = here.guild.add_member(
            here.env.create_user("mod"),
            roles=[here.guild.create_role("mod", permissions=discord.Permissions(manage_messages=True))],
        )
        await here.env.settle()
        (page,) = told(await moderator.slash(here.talk, "moderation reports"))
        assert page.ephemeral
        description = page.embeds[0].description or ""
        assert link_of(here, reply) in description
        assert "> Odd" in description
        assert f"<@{here.guest.id}>" in description
        for expected in ("Report 1 is done.", "Report 1 was done already."):
            (line,) = told(await moderator.slash(here.talk, "moderation done", number=1))
            assert line.content == expected
        for name, options in (("moderation done", {"number": 2}), ("moderation reports", {})):
            (line,) = told(await moderator.slash(here.talk, name, **options))
            assert line.content.startswith("There is no report 2" if options else "There are no open reports")
            (line,) = told(await here.guest.slash(here.talk, name, **options))
            assert "Manage Messages or Manage Server" in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_one_person_has_ten_open_reports_at_most_and_they_come_in_pages(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        for number in range(10):
            await fill(here.guest, await here.guest.slash(here.talk, "report"), f"Number {number}")
        (line,) = told(await fill(here.guest, await here.guest.slash(here.talk, "report"), "One more"))
        assert "10 reports that nobody has looked at yet" in line.content
        here.env._errors_acknowledged = here.env.error_cursor
        (page,) = told(await here.owner.slash(here.talk, "moderation reports"))
        assert "Page 1 of 2" in str(page.embeds[0].to_dict())
        (page,) = told(await here.owner.click(page, label="▶"))
        assert "Number 9" in str(page.embeds[0].to_dict())
        assert store.reports.done(here.guild.id + 1, 1, here.owner.id) is None, "another server cannot close it"


async def test_reports_are_shown_exported_and_forgotten(store: Store, settings: Settings, database_url: str) -> None:
    async with world(store, settings) as here:
        await fill(here.guest, await here.guest.slash(here.talk, "report"), "A canary")
        await fill(here.owner, await here.owner.slash(here.talk, "report"), "Of the owner")
        await here.owner.slash(here.talk, "moderation done", number=1)
        (line,) = told(await here.guest.slash(here.talk, "privacy show"))
        assert "1 report to moderators" in line.content
        (sent,) = told(await here.guest.slash(here.talk, "privacy export"))
        (report,) = json.loads(await sent.attachments[0].read())["reports"]
        assert report["reason"] == "A canary"
        (asked,) = told(await here.guest.slash(here.talk, "privacy forget"))
        (done,) = told(await here.guest.click(asked, label="Delete my data"))
        assert done.content.startswith("Deleted: 1 report to moderators.")
        assert "canary" not in rows(database_url)
        assert str(here.guest.id) not in rows(database_url)
        await here.bot.privacy.forget(here.owner.id)
        assert str(here.owner.id) not in rows(database_url)


async def test_who_closed_a_report_is_forgotten_and_the_report_stays(
    store: Store, settings: Settings, database_url: str
) -> None:
    async with world(store, settings) as here:
        await fill(here.guest, await here.guest.slash(here.talk, "report"), "Odd")
        await here.owner.slash(here.talk, "moderation done", number=1)
        await here.bot.privacy.forget(here.owner.id)
        assert str(here.owner.id) not in rows(database_url)
        assert [report.reason for report in store.reports.of(here.guest.id)] == ["Odd"]


async def test_who_opted_out_may_report_and_nothing_is_kept(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.bot.privacy.opt_out(here.guest.id)
        (line,) = told(await fill(here.guest, await here.guest.slash(here.talk, "report"), "Odd"))
        assert line.content.startswith("You opted out, so I keep nothing of you")
        await here.owner.slash(here.talk, "moderation log", channel=here.other)
        (line,) = told(await fill(here.guest, await here.guest.slash(here.talk, "report"), "Odd"))
        assert line.content.startswith("Thank you. The moderators of this server were told")
        assert here.said(here.other)[-1].startswith(f"**Report** by <@{here.guest.id}>")
        assert store.reports.of(here.guest.id) == ()


async def test_the_log_says_who_did_what_where_and_never_what_was_said(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await here.owner.slash(here.talk, "moderation log", channel=here.other)
        await here.owner.slash(here.talk, "persona set", name="Vera", about="A secret.")
        await here.owner.slash(here.talk, "chat mode", answer="every")
        for name in ("pause", "pause", "resume", "reset"):
            await here.owner.slash(here.talk, f"chat {name}")
        form = await here.owner.slash(here.talk, "persona create")
        (drawn,) = told(await fill(here.owner, form, "Nemo", "A secret."))
        await here.owner.click(drawn, label="Save")
        form = await here.owner.slash(here.talk, "persona create", for_me=True)
        (drawn,) = told(await fill(here.owner, form, "Mine", "A secret."))
        await here.owner.click(drawn, label="Save")
        (asked,) = told(await here.owner.slash(here.talk, "persona delete", name="Nemo"))
        (gone,) = told(await here.owner.click(asked, label="Delete"))
        await here.owner.click(gone, label="Undo")
        await here.owner.slash(here.talk, "persona clear")
        await here.owner.slash(here.talk, "moderation channels", action="deny", channel=here.talk)
        await here.owner.slash(here.talk, "moderation filter", reads="both")
        await here.owner.slash(here.talk, "moderation log", off=True)
        await here.owner.slash(here.talk, "moderation channels", action="clear")
        by, at = f"<@{here.owner.id}> ", f" · <#{here.talk.id}>"
        assert [line.removeprefix(by).removesuffix(at) for line in here.said(here.other)][1:] == [
            "set **Vera** for this channel",
            "let me answer every message",
            "paused me",
            "ended my pause",
            "reset what I remember",
            "made the persona **Nemo**",
            "deleted the persona **Nemo**",
            "brought the persona **Nemo** back",
            "let **Vera** leave this channel",
            f"denied <#{here.talk.id}>",
            "set the word filter: what people say to me, and what personas say (my own list)",
            "ended this log",
        ]
        assert "secret" not in "".join(here.said(here.other))
        assert never_pings(here.env) == []


async def test_filtered_words_are_told_by_who_where_and_list(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        await logged(here)
        await here.bot.chat.moderation.filter(here.guild.id, Filtering(Side.INPUT, words=(WORD,)))
        sent = await here.guest.send(here.talk, f"A {WORD}")
        line = (
            f"The word filter stopped a message of <@{here.guest.id}> (the server's own list) · {link_of(here, sent)}"
        )
        assert here.said(here.other)[-1] == line
        await here.bot.chat.moderation.filter(here.guild.id, Filtering(Side.OUTPUT, words=("Vera",)))
        sent = await here.guest.send(here.talk, "Hello")
        assert here.said(here.other)[-1].startswith(f"The word filter stopped the answer to <@{here.guest.id}>")
        assert link_of(here, sent) in here.said(here.other)[-1]
        await here.guest.slash(here.talk, "persona test", name="Vera", message="Hello")
        assert "asked for words that the word filter stopped" in here.said(here.other)[-1]
        assert not any(WORD in text for text in here.said(here.other))
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_log_channel_that_is_gone_harms_nothing(store: Store, settings: Settings) -> None:
    async with world(store, settings, check_errors=False) as here:
        await here.seat(VERA)
        await here.bot.chat.moderation.write_to(here.guild.id, 4_000_000)
        (line,) = told(await here.owner.slash(here.talk, "chat pause"))
        assert line.content.startswith("I am silent here")
        await here.owner.slash(here.talk, "chat resume")
        await here.bot.chat.moderation.filter(here.guild.id, Filtering(Side.INPUT, words=(WORD,)))
        await here.guest.send(here.talk, WORD)
        await here.guest.send(here.talk, "Hello")
        assert here.said(here.talk)[-1] == "Vera heard: Hello (1)"
        (line,) = told(await fill(here.guest, await here.guest.slash(here.talk, "report"), "Odd"))
        assert "It is kept" in line.content
        assert "I could not write to the channel" in line.content


async def test_a_channel_that_takes_no_line_does_not_become_the_log(store: Store, settings: Settings) -> None:
    async with world(store, settings) as here:
        assert here.bot.user is not None
        no = {here.bot.user: discord.PermissionOverwrite(send_messages=False)}
        mute = here.guild.create_text_channel("mute", overwrites=no)
        await here.env.settle()
        (line,) = told(await here.owner.slash(here.talk, "moderation log", channel=mute))
        assert line.content.startswith("I may not write in")
        assert here.bot.chat.moderation.rules(here.guild.id).log_channel_id is None
        (line,) = told(await here.owner.slash(here.talk, "moderation log"))
        assert line.content == "Name a channel, or choose `off`. Now: none."
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_burst_is_cut_and_counted(store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_channel, "LINES", 3)
    async with world(store, settings) as here:
        await here.bot.chat.moderation.write_to(here.guild.id, here.other.id)
        log = here.bot.log_channel
        for number in range(6):
            await log.write(here.guild.id, f"line {number}")
        assert here.said(here.other) == ["line 0", "line 1", "line 2"]
        assert await log.write(here.guild.id, "a report", report=True)
        assert here.said(here.other)[-1] == "a report\n-# Before this, 3 lines were left out: too many came at once."

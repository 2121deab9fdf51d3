"""Feedback in Discord, through the real discord.py against simcord: reactions, the menu of a reply, and `/feedback`."""

import json
from typing import Any

import discord
import pytest
from simcord.results import InteractionResult, ResponseMessage

from bot.feedback import suggestion_line
from bot.portrait import EMBED_CHARACTERS
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.feedback import SUGGESTION_CHARACTERS
from persona_chat.settings import Settings
from persona_chat.store.feedback import Suggestion, Tally
from persona_chat.store.store import Store
from tests.discord_world import World, fill, make_bot, never_pings, told, world
from tests.people import CANARY, files_with, rows
from tests.test_replies import VERA, last, numbered


async def answered(here: World) -> discord.Message:
    """The reply to something that the guest said."""
    await here.seat(VERA)
    await here.guest.send(here.talk, "Hello")
    return last(here)


def thumbs(store: Store) -> tuple[int, int]:
    """How many 👍 and 👎 there are."""
    return sum(tally.up for tally in store.feedback.tallies()), sum(tally.down for tally in store.feedback.tallies())


async def menu_of(here: World, person: Any) -> ResponseMessage:
    (menu,) = told(await person.click(last(here), label="⋯"))
    return menu


def buttons(menu: ResponseMessage) -> dict[str, int]:
    """The style of each button, by what stands on it."""
    rows_of_it: Any = menu.components
    return {button["label"]: button["style"] for row in rows_of_it for button in row["components"]}


def pressed(menu: ResponseMessage) -> list[str]:
    """The buttons that stand out."""
    return [label for label, style in buttons(menu).items() if style == discord.ButtonStyle.primary.value]


@pytest.mark.usefixtures("webhook_discord")
@pytest.mark.parametrize("webhooks", [True, False])
async def test_anybody_judges_a_reply_with_a_reaction_and_takes_it_back_with_it(
    store: Store, settings: Settings, webhooks: bool
) -> None:
    async with world(store, settings, numbered(), webhooks=webhooks) as here:
        reply = await answered(here)
        other = here.guild.add_member(here.env.create_user("other"))
        await here.guest.react(reply, "👍")
        await other.react(reply, "👎🏽")
        assert thumbs(store) == (1, 1)
        await here.guest.react(reply, "👎")
        assert thumbs(store) == (0, 2), "the newest counts"
        await here.guest.unreact(reply, "👍")
        assert thumbs(store) == (0, 2), "that one was not it any more"
        await here.guest.unreact(reply, "👎")
        await other.unreact(reply, "👎🏽")
        assert store.feedback.tallies() == ()


async def test_bots_who_opted_out_and_other_messages_are_left_alone(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        robot = here.guild.add_member(here.env.create_user("robot", bot=True))
        silent = here.guild.add_member(here.env.create_user("silent"))
        await silent.react(reply, "👍")
        await here.bot.privacy.opt_out(silent.id)
        await silent.react(reply, "👎")
        await robot.react(reply, "👍")
        question = here.talk.history()[0]
        chatter = await here.guest.send(here.other, "to nobody")
        for message in (question, chatter):
            await here.guest.react(message, "👍")
        await here.guest.react(reply, "🎉")
        assert thumbs(store) == (1, 0)
        await silent.unreact(reply, "👍")
        assert thumbs(store) == (0, 0), "what was kept before can still be taken back"
        (line,) = told(await silent.click(await menu_of(here, silent), label="👍"))
        assert "I keep no feedback of yours" in line.content
        (line,) = told(await silent.click(await menu_of(here, silent), label="Should have said …"))
        assert "I keep no feedback of yours" in line.content
        assert store.feedback.tallies() == ()
        here.env._errors_acknowledged = here.env.error_cursor


async def test_a_reaction_is_about_the_version_that_is_shown(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        await here.guest.react(reply, "👎")
        await here.guest.click(reply, label="🔁")
        other = here.guild.add_member(here.env.create_user("other"))
        await other.react(reply, "👍")
        assert store.feedback.tallies() == (Tally(None, 2, 1, 1, 0),)
        asked = here.talk.history()[0].id
        assert store.feedback.of(asked, 1, here.guest.id).thumb == "down"
        assert store.feedback.of(asked, 2, other.id).thumb == "up"
        await here.guest.unreact(reply, "👎")
        assert thumbs(store) == (1, 0), "also on a version that is not shown any more"


async def test_every_part_of_a_long_reply_can_be_judged_and_of_two_at_once_the_later_counts(
    store: Store, settings: Settings
) -> None:
    long = " ".join(f"word{number}" for number in range(400))
    async with world(store, settings, ScriptedEngine(lambda _request: long)) as here:
        await answered(here)
        first, second = here.talk.history()[1:]
        await here.guest.react(second, "👎")
        assert thumbs(store) == (0, 1)
        backend = here.env.backend
        backend.set_reaction(here.talk.id, first.id, "👍", here.guest.id, True)
        backend.set_reaction(here.talk.id, second.id, "👎", here.guest.id, False)
        backend.set_reaction(here.talk.id, second.id, "👎", here.guest.id, True)
        backend.set_reaction(here.talk.id, first.id, "👍", here.guest.id, False)
        await here.env.settle()
        assert thumbs(store) == (0, 1)


async def test_the_menu_of_a_reply_shows_the_verdict_and_takes_it_back(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await answered(here)
        other = here.guild.add_member(here.env.create_user("other"))
        menu = await menu_of(here, other)
        assert menu.ephemeral
        row = ["Continue", "Why this reply?", "Edit", "Delete"]
        assert list(buttons(menu)) == ["👍", "👎", "Should have said …", "Report", *row]
        assert pressed(menu) == []
        (menu,) = told(await other.click(menu, label="👍"))
        assert menu.content == "👍 for this reply. It is counted for those who run this bot, and trains nothing."
        assert pressed(menu) == ["👍"]
        (menu,) = told(await other.click(menu, label="👎"))
        assert pressed(menu) == ["👎"]
        assert thumbs(store) == (0, 1)
        menu = await menu_of(here, other)
        assert pressed(menu) == ["👎"], "it is remembered"
        assert pressed(await menu_of(here, here.guest)) == [], "by person"
        (menu,) = told(await other.click(menu, label="👎"))
        assert menu.content == "Your verdict on this reply is taken back."
        assert store.feedback.tallies() == ()
        assert never_pings(here.env) == []


async def test_an_open_menu_is_about_the_version_that_it_was_opened_for(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await answered(here)
        await here.guest.click(last(here), label="🔁")
        menu = await menu_of(here, here.guest)
        form = await here.guest.click(menu, label="Should have said …")
        await here.guest.click(last(here), label="◀")
        (menu,) = told(await here.guest.click(menu, label="👍"))
        assert menu.content.startswith("👍 for version 2 of this reply.")
        (kept,) = told(await fill(here.guest, form, "Ahoy!"))
        assert kept.content.startswith("Kept beside version 2 of this reply.")
        assert [one.said for one in store.feedback.suggestions(9)] == ["Hello -> 2"]
        assert here.said(here.talk) == ["Hello -> 1"]


def typed_before(form: InteractionResult) -> str:
    assert form.modal is not None, told(form)
    value = form.modal["components"][0]["component"].get("value", "")
    assert isinstance(value, str)
    return value


async def test_what_it_should_have_said_is_kept_and_changes_nothing(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await answered(here)
        other = here.guild.add_member(here.env.create_user("other"))
        form = await other.click(await menu_of(here, other), label="Should have said …")
        assert form.modal is not None
        assert "It trains nothing" in form.modal["components"][0]["description"]
        (kept,) = told(await fill(other, form, "Good morning!"))
        assert kept.ephemeral
        assert "Those who run this bot can read it." in kept.content
        form = await other.click(await menu_of(here, other), label="Should have said …")
        assert typed_before(form) == "Good morning!"
        await fill(other, form, "Good evening!")
        assert [one.better for one in store.feedback.suggestions(9)] == ["Good evening!"]
        assert here.said(here.talk) == ["Hello -> 1"]
        form = await other.click(await menu_of(here, other), label="Should have said …")
        (gone,) = told(await fill(other, form, ""))
        assert gone.content == "Nothing of yours is kept there."
        assert store.feedback.tallies() == ()


async def test_a_persons_own_words_are_not_judged(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        await fill(here.guest, await here.guest.context_menu(here.talk, "Edit this reply", reply), "Ahoy!")
        await here.guest.react(reply, "👍")
        (line,) = told(await here.guest.click(await menu_of(here, here.guest), label="👍"))
        assert line.content == "A person wrote these words. Feedback is about what the model writes."
        assert store.feedback.tallies() == ()
        here.env._errors_acknowledged = here.env.error_cursor


async def test_those_who_run_the_bot_see_the_counts_and_nobody_else(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        (refused,) = told(await here.owner.slash(here.talk, "feedback stats"))
        assert "Only the people who run this bot" in refused.content
        here.env._errors_acknowledged = here.env.error_cursor
        here.bot.admins.add(here.guest.id)
        for name, says in (("stats", "Nobody has judged"), ("suggestions", "Nobody has said")):
            (line,) = told(await here.guest.slash(here.talk, f"feedback {name}"))
            assert line.ephemeral
            assert line.content.startswith(says)
        for number in range(10):
            person = here.guild.add_member(here.env.create_user(f"person{number}"))
            await person.react(reply, "👍" if number < 8 else "👎")
        (card,) = told(await here.guest.slash(here.talk, "feedback stats"))
        assert card.ephemeral
        assert "**none, the plain base**\n1 reply judged · 8 👍 · 2 👎 · 80% 👍 (49% to 94%) · 0 suggestions" in (
            card.embeds[0].description or ""
        )


async def test_suggestions_are_read_one_on_a_page(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await answered(here)
        here.bot.admins.add(here.owner.id)
        for person, words in ((here.owner, "Ahoy!"), (here.guest, "*Good* morning, <@1>!")):
            await fill(person, await person.click(await menu_of(here, person), label="Should have said …"), words)
        (page,) = told(await here.owner.slash(here.talk, "feedback suggestions"))
        assert page.ephemeral
        text = page.embeds[0].description or ""
        assert text.startswith("**Vera** · none, the plain base · <t:")
        assert "said: Hello -\\> 1" in text or "said: Hello -> 1" in text
        assert "**should have said**: \\*Good\\* morning, <@1>!" in text
        assert str(here.guest.id) not in text, "who said it is not shown"
        (page,) = told(await here.owner.click(page, label="▶"))
        assert "Ahoy!" in (page.embeds[0].description or "")
        assert never_pings(here.env) == []


def test_the_longest_suggestion_fits_a_page() -> None:
    longest = Suggestion(
        "*" * 80, "a" * 64 + "@12345678", "*" * 2000, "_" * SUGGESTION_CHARACTERS, discord.utils.utcnow()
    )
    assert len(suggestion_line(longest)) <= EMBED_CHARACTERS
    plain = Suggestion("Vera", None, "a" * 600, "b" * SUGGESTION_CHARACTERS, discord.utils.utcnow())
    assert "b" * SUGGESTION_CHARACTERS in suggestion_line(plain), "whole, where nothing in it is formatted"


async def test_privacy_shows_exports_and_forgets_it(store: Store, settings: Settings, database_url: str) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        other = here.guild.add_member(here.env.create_user("other"))
        await other.react(reply, "👎")
        await fill(other, await other.click(await menu_of(here, other), label="Should have said …"), f"A {CANARY}")
        (line,) = told(await other.slash(here.talk, "privacy show"))
        assert "**Kept of you**: feedback on 1 reply." in line.content
        (sent,) = told(await other.slash(here.talk, "privacy export"))
        (given,) = json.loads(await sent.attachments[0].read())["feedback"]
        assert (given["verdict"], given["suggestion"]) == ("down", f"A {CANARY}")
        (asked,) = told(await other.slash(here.talk, "privacy forget"))
        (done,) = told(await other.click(asked, label="Delete my data"))
        assert done.content.startswith("Deleted: feedback on 1 reply.")
        assert CANARY not in rows(database_url)
        assert str(other.id) not in rows(database_url)
        assert files_with(settings.data_dir, CANARY) == []
        assert here.said(here.talk) == ["Hello -> 1"]


async def test_it_goes_with_a_reply_that_is_taken_away(store: Store, settings: Settings, database_url: str) -> None:
    async with world(store, settings, numbered()) as here:
        reply = await answered(here)
        other = here.guild.add_member(here.env.create_user("other"))
        menu = await menu_of(here, other)
        await fill(other, await other.click(await menu_of(here, other), label="Should have said …"), CANARY)
        await here.guest.react(reply, "❌")
        assert CANARY not in rows(database_url)
        (line,) = told(await other.click(menu, label="👍"))
        assert "no reply of mine that I remember" in line.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_it_works_in_direct_messages_and_after_a_restart(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        friend = here.env.create_user("friend")
        await friend.slash("persona set", name="Nemo", about="A captain.")
        await friend.send_dm("Ahoy")
        again = make_bot(store, settings)
        await again.chat.start()
        await here.env.restart_bot(again)
        reply = friend.dm_channel.last_message
        assert reply is not None
        for reacted, expected in ((True, (1, 0)), (False, (0, 0))):
            here.env.backend.set_reaction(friend.dm_channel.id, reply.id, "👍", friend.id, reacted)
            await here.env.settle()
            assert thumbs(store) == expected
        (menu,) = told(await friend.click(reply, label="⋯"))
        await friend.click(menu, label="👎")
        assert thumbs(store) == (0, 1)

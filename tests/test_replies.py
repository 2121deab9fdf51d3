"""What people do with replies, through the real discord.py against simcord: versions, edits, deletions, and why."""

from collections.abc import Iterator
from itertools import count

import discord
from simcord.results import ResponseMessage

from persona_chat.engine.reply import ReplyRequest
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.persona import Persona
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from tests.discord_world import World, fill, make_bot, never_pings, told, world

VERA = Persona("Vera", "I keep a lighthouse.", ("I have a parrot.",))


def numbered() -> ScriptedEngine:
    """Says each time something new: what was asked, and the how-manieth reply it is."""
    numbers: Iterator[int] = count(1)
    return ScriptedEngine(lambda request: f"{request.dialogue[-1].text} -> {next(numbers)}")


def last(here: World) -> discord.Message:
    message = here.talk.last_message
    assert message is not None
    return message


def labels(message: discord.Message | ResponseMessage) -> list[str]:
    return [child.label for row in message.components for child in row.children]  # type: ignore[union-attr, misc]


async def remembered(here: World) -> list[str]:
    return [turn.text for turn in await here.bot.chat.history(here.place(here.talk), 100)]


async def test_another_version_is_shown_remembered_and_turned_back(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        assert labels(last(here)) == ["🔁", "⋯"]
        await here.guest.click(last(here), label="🔁")
        await here.guest.click(last(here), label="🔁")
        assert here.said(here.talk) == ["Hello -> 3"], "in the same message"
        assert labels(last(here)) == ["◀", "3/3", "▶", "🔁", "⋯"]
        await here.guest.click(last(here), label="◀")
        assert here.said(here.talk) == ["Hello -> 2"]
        assert await remembered(here) == ["Hello", "Hello -> 2"]
        await here.guest.click(last(here), label="◀")
        await here.guest.click(last(here), label="▶")
        assert labels(last(here)) == ["◀", "2/3", "▶", "🔁", "⋯"]
        assert await remembered(here) == ["Hello", "Hello -> 2"]
        assert never_pings(here.env) == []


async def test_another_version_has_other_words_if_the_model_finds_some(store: Store, settings: Settings) -> None:
    words = iter(["Yes.", "Yes.", "Yes.", "No.", *["Yes."] * 10])
    asked: list[ReplyRequest] = []

    def say(request: ReplyRequest) -> str:
        asked.append(request)
        return next(words)

    async with world(store, settings, ScriptedEngine(say)) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Do you like tea?")
        await here.guest.click(last(here), label="🔁")
        assert here.said(here.talk) == ["No."]
        assert labels(last(here)) == ["◀", "2/2", "▶", "🔁", "⋯"]
        warmth = [request.sampling.temperature for request in asked[1:]]
        assert warmth == sorted(set(warmth)), "warmer each time"
        await here.guest.click(last(here), label="🔁")
        assert here.said(here.talk) == ["Yes."], "better the same words than none"
        assert len(asked) == 4 + 4


async def test_it_goes_on_after_its_words(store: Store, settings: Settings) -> None:
    seen: list[ReplyRequest] = []

    def note(request: ReplyRequest) -> str:
        seen.append(request)
        return f"part {len(seen)}."

    async with world(store, settings, ScriptedEngine(note)) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        for _ in range(2):
            more = await here.guest.click(last(here), label="⋯")
            await here.guest.click(told(more)[0], label="Continue")
        assert here.said(here.talk) == ["part 1. part 2. part 3."]
        assert seen[-1].begun == "part 1. part 2."
        assert [turn.text for turn in seen[-1].dialogue] == ["Hello"], "no turn of its own before"
        assert (await here.bot.chat.prompt(seen[-1])).text.endswith("Persona B: part 1. part 2.")
        assert labels(last(here)) == ["◀", "3/3", "▶", "🔁", "⋯"]
        await here.guest.click(last(here), label="◀")
        assert await remembered(here) == ["Hello", "part 1. part 2."]
        why = told(await here.guest.context_menu(here.talk, "Why this reply?", last(here)))[0]
        assert ("It goes on after", "version 1") in [(field.name, field.value) for field in why.embeds[0].fields]


async def test_it_does_not_go_on_for_ever(store: Store, settings: Settings) -> None:
    async with world(store, settings, ScriptedEngine(lambda _: "word " * 400)) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        more = await here.guest.click(here.talk.history()[1], label="⋯")
        result = await here.guest.click(told(more)[0], label="Continue")
        assert "as long as replies get" in told(result)[-1].content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_who_opted_out_gets_no_more_of_it_and_can_delete_it(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.bot.privacy.opt_out(here.guest.id)
        result = await here.guest.click(last(here), label="🔁")
        assert "You opted out" in told(result)[0].content
        here.env._errors_acknowledged = here.env.error_cursor
        await here.guest.context_menu(here.talk, "Delete this reply", last(here))
        assert here.said(here.talk) == []


async def test_another_version_of_an_older_reply_knows_only_what_was_before(store: Store, settings: Settings) -> None:
    seen: list[ReplyRequest] = []

    def note(request: ReplyRequest) -> str:
        seen.append(request)
        return f"reply {len(seen)}"

    async with world(store, settings, ScriptedEngine(note)) as here:
        await here.seat(VERA)
        for text in ("one", "two", "three"):
            await here.guest.send(here.talk, text)
        second = here.talk.history()[3]
        assert second.content == "reply 2"
        await here.guest.click(second, label="🔁")
        assert [turn.text for turn in seen[-1].dialogue] == ["one", "reply 1", "two"]
        assert await remembered(here) == ["one", "reply 1", "two", "reply 4", "three", "reply 3"]


async def test_it_works_from_the_menu_of_a_message_too(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.guest.context_menu(here.talk, "Regenerate", last(here))
        assert here.said(here.talk) == ["Hello -> 2"]
        form = await here.guest.context_menu(here.talk, "Edit this reply", last(here))
        await fill(here.guest, form, "Ahoy there!")
        assert here.said(here.talk) == ["Ahoy there!"]
        (card,) = told(await here.guest.context_menu(here.talk, "Why this reply?", last(here)))
        assert f"written by <@{here.guest.id}>" in str([field.value for field in card.embeds[0].fields])
        (done,) = told(await here.guest.context_menu(here.talk, "Delete this reply", last(here)))
        assert done.ephemeral
        assert here.said(here.talk) == []
        assert await remembered(here) == []


async def test_why_says_what_it_was_made_with(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.guest.send(here.talk, "Again")
        (more,) = told(await here.owner.click(last(here), label="⋯"))
        assert more.ephemeral
        (card,) = told(await here.owner.click(more, label="Why this reply?"))
        fields = {field.name: field.value for field in card.embeds[0].fields}
        assert fields["It answers"] == "Gus: Again"
        assert fields["Persona"] == "Vera, version 1"
        assert fields["The model read"].startswith("the persona, 2 earlier turns and the message: ")
        assert "temperature 0.7" in fields["Words were drawn with"]
        assert card.embeds[0].footer.text is None, "it is for those who run the bot"
        here.bot.admins.add(here.owner.id)
        (card,) = told(await here.owner.click(more, label="Why this reply?"))
        assert "persona-chat replay" in (card.embeds[0].footer.text or "")


async def test_only_who_asked_and_moderators_change_a_reply(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        other = here.guild.add_member(here.env.create_user("other"))
        await here.guest.send(here.talk, "Hello")
        (refused,) = told(await other.click(last(here), label="🔁"))
        assert "Only the person who asked" in refused.content
        (more,) = told(await other.click(last(here), label="⋯"))
        for label in ("Edit", "Delete"):
            assert "Only the person who asked" in told(await other.click(more, label=label))[-1].content
        assert here.said(here.talk) == ["Hello -> 1"]
        await here.owner.click(last(here), label="🔁")
        assert here.said(here.talk) == ["Hello -> 2"]
        here.env._errors_acknowledged = here.env.error_cursor


async def test_an_edited_message_is_remembered_as_it_is_and_the_last_one_answered_anew(
    store: Store, settings: Settings
) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        first = await here.guest.send(here.talk, "one")
        second = await here.guest.send(here.talk, "two")
        await here.guest.edit(first, "ONE")
        assert await remembered(here) == ["ONE", "one -> 1", "two", "two -> 2"]
        await here.guest.edit(second, "TWO")
        assert await remembered(here) == ["ONE", "one -> 1", "TWO", "TWO -> 3"]
        assert here.said(here.talk) == ["one -> 1", "TWO -> 3"]


async def test_what_is_deleted_is_forgotten(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        asked = [await here.guest.send(here.talk, text) for text in ("one", "two", "three", "four")]
        await here.guest.delete(asked[0])
        assert here.said(here.talk) == ["one -> 1", "two -> 2", "three -> 3", "four -> 4"]
        assert await remembered(here) == ["two", "two -> 2", "three", "three -> 3", "four", "four -> 4"]
        await here.guest.delete(asked[3])
        assert here.said(here.talk) == ["one -> 1", "two -> 2", "three -> 3"], "the last answer goes with its question"
        reply = here.talk.last_message
        assert reply is not None
        await here.owner.delete(reply)
        assert await remembered(here) == ["two", "two -> 2"]
        (gone,) = told(await here.guest.context_menu(here.talk, "Regenerate", here.talk.history()[0]))
        assert "no reply of mine that I remember" in gone.content
        here.env._errors_acknowledged = here.env.error_cursor


async def test_versions_of_different_length_use_more_messages_and_fewer(store: Store, settings: Settings) -> None:
    long = " ".join(f"word{number}" for number in range(400))
    replies = iter(["short", long, "short again"])
    async with world(store, settings, ScriptedEngine(lambda _request: next(replies))) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        first = last(here)
        await here.guest.click(first, label="🔁")
        parts = here.said(here.talk)
        assert len(parts) == 2
        assert " ".join(parts) == long
        await here.guest.click(here.talk.history()[1], label="🔁")
        assert here.said(here.talk) == ["short again"]
        await here.guest.click(here.talk.history()[1], label="◀")
        assert " ".join(here.said(here.talk)) == long


async def test_buttons_can_be_left_out(store: Store, settings: Settings) -> None:
    plain = settings.model_copy(update={"reply_buttons": False})
    async with world(store, plain, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        assert last(here).components == []
        await here.guest.context_menu(here.talk, "Regenerate", last(here))
        assert here.said(here.talk) == ["Hello -> 2"]
        assert last(here).components == []


async def test_buttons_go_on_after_a_restart(store: Store, settings: Settings) -> None:
    async with world(store, settings, numbered()) as here:
        await here.seat(VERA)
        await here.guest.send(here.talk, "Hello")
        await here.env.restart_bot(make_bot(store, settings, numbered()))
        await here.guest.click(last(here), label="🔁")
        assert here.said(here.talk) == ["Hello -> 2"], "this one counts anew, and what it says first is there already"
        assert labels(last(here)) == ["◀", "2/2", "▶", "🔁", "⋯"]

"""A simulated Discord with our real bot in it: a server, its owner, a guest, two channels."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import simcord
from simcord.actors import MemberActor
from simcord.builders import ChannelHandle, GuildHandle
from simcord.results import InteractionResult, ResponseMessage

from bot.client import PersonaBot
from bot.demo import Waits
from persona_chat.bases import EMBEDDED
from persona_chat.chat import Chat
from persona_chat.engine.reply import ReplyEngine, ReplyRequest, Wait, plainly
from persona_chat.engine.scripted import ScriptedEngine
from persona_chat.feedback import Feedback
from persona_chat.persona import Persona
from persona_chat.place import Place, Scope
from persona_chat.privacy import Privacy
from persona_chat.registry import Registry
from persona_chat.retraining.retraining import Retraining
from persona_chat.rework import Rework
from persona_chat.settings import Settings
from persona_chat.store.store import Store


@dataclass
class World:
    """What a test talks to."""

    env: simcord.Env
    bot: PersonaBot
    guild: GuildHandle
    talk: ChannelHandle
    other: ChannelHandle
    owner: MemberActor
    guest: MemberActor

    def said(self, channel: ChannelHandle) -> list[str]:
        """What the bot wrote in a channel, oldest first."""
        me = self.bot.user
        assert me is not None
        return [message.content for message in channel.history() if message.author.id == me.id]

    def place(self, channel: ChannelHandle, person: MemberActor | None = None) -> Place:
        """The channel as the guest, or somebody else, is in it."""
        return Place(channel.id, (person or self.guest).id, self.guild.id)

    async def seat(self, persona: Persona) -> None:
        """Let a persona talk in the first channel."""
        await self.bot.chat.cast.put(self.place(self.talk, self.owner), Scope.CHANNEL, persona)

    async def talks_in(self, channel: ChannelHandle, person: MemberActor | None = None) -> Persona | None:
        """Who talks in a channel to the guest, or to somebody else."""
        seated = await self.bot.chat.cast.seated(self.place(channel, person))
        return None if seated is None else seated.persona

    async def post_at_once(self, channel: ChannelHandle, author_ids: list[int], texts: list[str]) -> list[int]:
        """Let several people speak before the bot gets to answer anybody; return the ids of their messages."""
        posted = [
            self.env.backend.create_message(channel.id, author, text).id
            for author, text in zip(author_ids, texts, strict=True)
        ]
        await self.env.settle()
        return posted


async def fill(person: MemberActor, form: InteractionResult, *values: str) -> InteractionResult:
    """Fill the fields of a form from the first on, and send it."""
    assert form.modal is not None, told(form)
    fields = [part["component"]["custom_id"] for part in form.modal["components"]]
    return await person.submit_modal(form, dict(zip(fields, values, strict=False)))


def told(result: InteractionResult) -> list[ResponseMessage]:
    """Everything that came of a command or a button, oldest first."""
    return [*([result.response] if result.response else []), *result.followups]


def echo(request: ReplyRequest) -> str:
    """A reply that shows who spoke, what was said last, and how much was remembered."""
    return f"{request.persona.name} heard: {request.dialogue[-1].text} ({len(request.dialogue)})"


def make_bot(
    store: Store,
    settings: Settings,
    engine: ReplyEngine | None = None,
    wait: Wait = plainly,
    *,
    webhooks: bool = False,
) -> PersonaBot:
    """Our bot. Unless a test is about `webhooks`, it says everything itself, so that tests read its own messages."""
    engine = engine or ScriptedEngine(echo)
    chat = Chat(store, engine, settings, wait=wait)
    base = settings.base if settings.base != "auto" else EMBEDDED
    retraining = Retraining(settings, store, Registry(settings.data_dir, store, base), engine)
    privacy = Privacy(store, chat, settings.retention_days)
    return PersonaBot(
        chat,
        Rework(chat, store, settings),
        retraining,
        privacy,
        Feedback(store, privacy.opted_out),
        admin_ids=settings.admin_ids,
        message_content=settings.message_content,
        stream=settings.stream,
        buttons=settings.reply_buttons,
        webhooks=webhooks,
        wait=wait,
    )


@asynccontextmanager
async def world(
    store: Store,
    settings: Settings,
    engine: ReplyEngine | None = None,
    *,
    settle_timeout: float = 20.0,
    check_errors: bool = True,
    waits: Waits | None = None,
    webhooks: bool = False,
) -> AsyncIterator[World]:
    """Run our bot in a new simulated Discord; errors that it swallowed fail the test at the end.

    With `waits` the simulation does not wait for what the bot awaits through them, as in the demo.
    """
    bot = make_bot(store, settings, engine, waits or plainly, webhooks=webhooks)
    await bot.chat.start()
    await bot.privacy.start()
    async with simcord.run(bot, settle_timeout=settle_timeout, check_errors=check_errors) as env:
        guild = env.create_guild("Tests")
        talk, other = guild.create_text_channel("talk"), guild.create_text_channel("other")
        owner = guild.add_member(guild.owner) if guild.owner.id not in guild.member_ids() else None
        owner = owner or MemberActor(env, guild, guild.owner)
        guest = guild.add_member(env.create_user("guest", global_name="Gus"))
        await env.settle()
        if waits is not None:
            waits.env = env
        yield World(env, bot, guild, talk, other, owner, guest)


def never_pings(env: simcord.Env) -> list[str]:
    """The requests of the bot that could ping somebody: every one with a text must forbid all mentions."""
    offences = []
    for request in env.http_requests:
        body = request.json if isinstance(request.json, dict) else {}
        sends = [body, body.get("data")] if isinstance(body.get("data"), dict) else [body]
        for sent in sends:
            if "content" not in sent or request.method not in {"POST", "PATCH"}:
                continue
            allowed = sent.get("allowed_mentions")
            if allowed is None or allowed.get("parse") != [] or allowed.get("users") or allowed.get("roles"):
                offences.append(f"{request.method} {request.path}: {allowed}")
            if allowed is not None and allowed.get("replied_user"):
                offences.append(f"{request.method} {request.path}: pings the person it replies to")
    return offences

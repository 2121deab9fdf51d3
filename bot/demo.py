"""`persona-chat demo`: the real bot against simcord's Discord, shown by its preview page on this machine.

Everything of ours is what `run` uses: client, commands, chat, store and model. Only Discord is simcord.
"""

import asyncio
import logging
import socket
import sys
import time
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import discord
import simcord
import typer
from simcord.backend.errors import SetupError
from simcord.builders import ChannelHandle
from simcord.preview import Preview

from bot.client import PersonaBot
from bot.portrait import called, portrait
from bot.run import bot_on, following, forgetting, open_core, retraining_in, start_engine, stopped_by_signals
from persona_chat.chat import Chat
from persona_chat.engine.choice import engine_for
from persona_chat.errors import InputError
from persona_chat.example import DAVID, example_personas
from persona_chat.instance import only_one_in
from persona_chat.place import Place, Scope
from persona_chat.serving import to_serve
from persona_chat.settings import Settings
from persona_chat.store.database import DEMO_DATABASE, default_url
from persona_chat.store.schema import upgrade

log = logging.getLogger(__name__)

REFRESH_S = 0.2
SHORT_S = 0.05

EARLIER_TURNS = 6
RETRAIN_EVAL_ROWS = 20

WELCOME = """**{name}** is talking here. Say something, and it answers; `🔁` under an answer gives another one.
Others are waiting: {others}. `/persona set` with a name lets one of them talk, `/persona create` makes a new one, \
and `/help` shows the rest."""

# Each action on the page waits until the bot is idle, at most this long. Waits for the model are marked as
# external and not waited for; the typing indicator's sleeps of 5 s must lie beyond.
SETTLE_S = 4.0


@dataclass
class Waits:
    """Marks the bot's long waits as nobody's fault, once there is a simulated Discord to tell; counts them."""

    env: simcord.Env | None = None
    ended: int = 0

    async def __call__(self, awaitable: Awaitable[Any]) -> Any:
        """Await it."""
        if self.env is None:
            return await awaitable
        started = time.monotonic()
        try:
            return await self.env.external_wait(awaitable, reason="the model, or the channel's turn")
        except SetupError:  # from a task that the simulated Discord does not wait for
            return await awaitable
        finally:
            self.ended += time.monotonic() - started > SHORT_S


def run_demo(settings: Settings, *, port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C or until it is ended there."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    started = time.perf_counter()
    _check_port(port)
    if sys.stdout.isatty():  # whoever reads the address with a program wants it first
        typer.echo("Starting. The model is loaded, which takes half a minute; the first time a little longer.")
    with only_one_in(settings.data_dir):
        asyncio.run(_demo(settings, port=port, browser=browser, started=started))


async def _demo(settings: Settings, *, port: int, browser: bool, started: float) -> None:
    # The offline Discord has a clock of its own, which stands while nobody does anything: a wait for more never ended.
    # And who tries /retrain waits for it: comparing on fewer rows takes less than learning.
    rows = min(settings.retrain_eval_rows, RETRAIN_EVAL_ROWS)
    settings = settings.model_copy(update={"burst_s": 0.0, "retrain_eval_rows": rows})
    url = default_url(settings.data_dir, DEMO_DATABASE)
    await asyncio.to_thread(upgrade, url)
    waits = Waits()
    serving = await asyncio.to_thread(to_serve, settings, url)
    engine = engine_for(settings, adapter=serving.folder, wait=waits)
    async with stopped_by_signals(), open_core(settings, url, engine, wait=waits) as core:
        await start_engine(engine)
        # The simulated Discord refuses buttons under a webhook's message, which the real one takes.
        bot = bot_on(core, settings, webhooks=False, wait=waits, replay="persona-chat replay --demo {message}")
        # Outside of the simulated Discord, which would wait for a task that sleeps and looks.
        async with (
            following(core, serving),
            forgetting(core),
            core.chat.inbox.keeping_marks(),
            simcord.run(bot, settle_timeout=SETTLE_S, check_errors=False) as env,
        ):
            # Past simcord, for which every refusal that a person is told is a fault of the bot.
            bot.tree.error(bot.command_failed)
            channel, preview = await _world(env, bot, port)
            waits.env = env
            async with _opened(preview), retraining_in(bot):
                typer.echo(f"persona chat is at {preview.url}")
                took = time.perf_counter() - started
                typer.echo(f"Ready after {took:.0f} s. Say something in #{channel.name}; Ctrl-C stops.")
                if browser:
                    webbrowser.open(preview.url)
                await _keep_live(env, preview, lambda: waits.ended + bot.announcer.edits + bot.drafts)


async def _world(env: simcord.Env, bot: PersonaBot, port: int) -> tuple[ChannelHandle, Preview]:
    """A server with a channel, its owner and a guest, and personas to choose from.

    Ids come from the simulated clock: the world is made at the clock's start, so that a second demo finds
    its channel's persona again, and messages come after the real time, so that no id comes twice.
    """
    env.backend.edit_bot_profile("persona chat")
    owner = env.create_user("owner", global_name="Olive (owner)")
    guest = env.create_user("guest", global_name="Gus (guest)")
    guild = env.create_guild("persona chat demo", owner=owner)
    channel = guild.create_text_channel("talk", topic="Say something, or use /persona set")
    viewers = [guild.add_member(owner), guild.add_member(guest)]
    bot.admins.add(owner.id)  # simcord says that the application belongs to the bot itself
    await env.settle()
    _follow_clock(env)
    chat = bot.chat
    place = Place(channel.id, owner.id, guild.id)
    if not await chat.cast.list(place.home):
        for persona in example_personas():
            await chat.cast.create(place.home, persona, owner.id)
        await chat.cast.put(place, Scope.CHANNEL, DAVID)
    await _welcome(env, chat, place)
    return channel, env.preview(channel, viewers=viewers, layout="channel", port=port)


async def _welcome(env: simcord.Env, chat: Chat, place: Place) -> None:
    """Say who talks here, and at a later start what was said before: the page starts empty every time."""
    seated = await chat.cast.seated(place)
    channel = env.bot.get_channel(place.channel_id)
    if seated is None or not isinstance(channel, discord.TextChannel):
        return
    card = portrait(seated.persona)
    past = await chat.history(place, EARLIER_TURNS)
    said = "\n".join(f"{turn.name or seated.persona.name}: {turn.text}" for turn in past)
    if said:
        card.add_field(name="Earlier here", value=discord.utils.escape_markdown(said)[-1000:])
    others = [called(kept.persona) for kept in await chat.cast.list(place.home) if kept.id != seated.kept.id]
    await channel.send(WELCOME.format(name=called(seated.persona), others=", ".join(others) or "nobody"), embed=card)


def _check_port(port: int) -> None:
    """Raise InputError at once when the page cannot be served there, not when the model is loaded."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise InputError(
            f"The page cannot be served on port {port} ({error.strerror}). Choose another --port."
        ) from None


@asynccontextmanager
async def _opened(preview: Preview) -> AsyncIterator[None]:
    try:
        await preview.__aenter__()
    except SetupError as error:
        raise InputError(f"The page cannot be served: {error}. Choose another --port.") from None
    try:
        yield
    finally:
        await preview.close()


async def _keep_live(env: simcord.Env, preview: Preview, sent: Callable[[], int]) -> None:
    """Publish what the bot does by itself, which `sent` counts, and let the simulated clock follow the real one.

    An action of the page publishes what came of it, except for what had to wait. Publishing more often would
    refuse actions of the page, which must name the last publication that it has seen.
    """
    closed = asyncio.ensure_future(preview.wait_closed())
    published = sent()
    while not closed.done():
        await asyncio.wait((closed,), timeout=REFRESH_S)
        _follow_clock(env)
        now = sent()
        if now != published and not closed.done():
            try:
                await preview.refresh()
                published = now
            except (SetupError, TimeoutError):
                log.debug("an action of the page is under way; look again")


def _follow_clock(env: simcord.Env) -> None:
    behind = time.time() - env.now().timestamp()
    if behind > 0:
        env.backend.advance_clock(behind)

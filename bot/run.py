"""`persona-chat run`: the bot on the real Discord. Everything is built here and handed down."""

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import discord
import typer

from bot.client import PersonaBot, invite_url
from bot.health import Health, watched
from bot.identifies import Identifies
from bot.log import not_awaited, start_log
from bot.metrics import Measured, Metrics
from bot.pace import Pace
from bot.shards import ShardedBot, in_step
from persona_chat.chat import Chat
from persona_chat.engine import base
from persona_chat.engine.choice import engine_for
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyEngine, Wait, plainly
from persona_chat.errors import (
    DiscordUnreachable,
    EngineLost,
    GatewayRefused,
    IntentMissing,
    TokenMissing,
    TokenRejected,
)
from persona_chat.feedback import Feedback
from persona_chat.instance import only_one_in
from persona_chat.keyring import keys_to_run
from persona_chat.options import loading
from persona_chat.privacy import Privacy
from persona_chat.registry import Registry
from persona_chat.retraining.retraining import Retraining
from persona_chat.rework import Rework
from persona_chat.serving import Serving, to_serve
from persona_chat.settings import Settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.keys import NO_KEYS, Keys
from persona_chat.store.redo import finish_deletions
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store

log = logging.getLogger(__name__)

GRACE_S = 3.0
"""How long a stop waits for Discord to be told how a retraining ended."""

STOP_S = 9.0
"""A stop that takes longer is cut short: who supervises the bot kills it after ten seconds."""

MOST_CONNECTIONS = 50
"""Discord takes fifty requests a second from a bot, so more than these at once would only wait there."""

PORTAL = "https://discord.com/developers/applications"

NO_TOKEN = (
    "There is no Discord token. Put DISCORD_TOKEN=… into a file `.env` here, or into the environment. "
    f"You get one at {PORTAL} (your application, Bot, Reset Token)."
)
BAD_TOKEN = f"Discord does not accept the token. Copy it again, or make a new one at {PORTAL} (Bot, Reset Token)."
NO_INTENT = (
    "The application may not read messages: at "
    f"{PORTAL} open Bot and turn on Message Content Intent, or set PERSONA_CHAT_MESSAGE_CONTENT=false "
    "to answer only mentions, replies and direct messages."
)
REFUSED = (
    "Discord did not let the bot start (HTTP {status}, code {code}). If it is 5xx or 429, wait and start again; "
    f"else look at the application at {PORTAL}."
)
SHARDS = "Look at PERSONA_CHAT_SHARD_COUNT and PERSONA_CHAT_SHARD_IDS."
REFUSED_FOR_GOOD = {
    4010: f"Discord does not know this shard. {SHARDS}",
    4011: f"The bot is in too many servers for one connection. {SHARDS}",
    4012: "Discord does not speak this version of its protocol any more. Install a newer version of persona chat.",
    4013: "Discord does not know an intent that the bot asks for. Install a newer version of persona chat.",
}
"""What the gateway's close codes mean that end a bot for good, besides those of the token and of intents."""

NO_DISCORD = "Discord cannot be reached. Check the connection of this machine and start again."


def run_bot(settings: Settings) -> None:
    """Run until SIGTERM or Ctrl-C. Raises CannotStart with what to do."""
    start_log(settings.log_level, settings.log_format)
    last = threading.Timer(STOP_S, _end_now)
    last.daemon = True
    try:
        asyncio.run(serve(settings, stopping=last.start))
    finally:
        last.cancel()


def _end_now() -> None:
    """End the process whatever hangs in it. Nothing is lost by that: a kill does the same."""
    log.warning("the stop took longer than %g s and is cut short", STOP_S)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def serve(settings: Settings, stopping: Callable[[], None] = lambda: None) -> None:
    """Start everything, in the order in which faults are quick to see, and serve until stopped.

    `stopping` is called when SIGTERM comes.
    """
    asyncio.get_running_loop().set_exception_handler(not_awaited)
    if settings.token is None:
        raise TokenMissing(NO_TOKEN)
    with only_one_in(settings.data_dir):
        await _serve(settings, settings.token.get_secret_value(), stopping)


async def _serve(settings: Settings, token: str, stopping: Callable[[], None]) -> None:
    url = settings.database_url or default_url(settings.data_dir)
    await asyncio.to_thread(upgrade, url)
    keys = await asyncio.to_thread(keys_to_run, settings, url)
    serving = await asyncio.to_thread(to_serve, settings, url)
    metrics = Metrics()
    engine = Measured(engine_for(settings, adapter=serving.folder), metrics)
    async with stopped_by_signals(stopping), open_core(settings, url, engine, keys=keys) as core:
        identifies, trace = _identifies(settings), metrics.trace()
        bot = bot_on(
            core,
            settings,
            webhooks=settings.webhooks,
            identifies=identifies,
            http_trace=trace,
            connector=connector(),
        )
        async with bot, _ended_in_order(bot, engine), seen(bot, core.store, engine, metrics, settings):
            await _login(bot, token)
            await start_engine(engine, engine.inner)
            async with (
                ended_without_model(engine.inner),
                following(core, serving),
                forgetting(core),
                retraining_in(bot),
                core.chat.inbox.keeping_marks(),
                bot.meanwhile.looking_again(),
                one_of_many(core, settings),
            ):
                _say_ready(bot)
                await identifies.wait()
                await _connect(bot)


@dataclass(frozen=True)
class Core:
    """What the bot is built on, in one place."""

    chat: Chat
    rework: Rework
    engine: ReplyEngine
    store: Store
    registry: Registry
    retraining: Retraining
    privacy: Privacy
    feedback: Feedback


@asynccontextmanager
async def open_core(
    settings: Settings, url: str, engine: ReplyEngine, *, keys: Keys = NO_KEYS, wait: Wait = plainly
) -> AsyncIterator[Core]:
    """The core on an upgraded database; the engine is not started here, but closed."""
    store = Store(await asyncio.to_thread(open_database, url, keys), settings.data_dir)
    chat = Chat(store, engine, settings, wait=wait)
    try:
        registry = Registry(settings.data_dir, store, await asyncio.to_thread(base.name_of, settings))
        if count := await asyncio.to_thread(finish_deletions, store):
            log.warning("%d deletions were cut off when the bot ended last, and are done now", count)
        await chat.start()
        retraining = Retraining(settings, store, registry, engine)
        privacy = Privacy(store, chat, settings.retention_days)
        await privacy.start()
        rework, feedback = Rework(chat, store, settings), Feedback(store, privacy.opted_out)
        yield Core(chat, rework, engine, store, registry, retraining, privacy, feedback)
    finally:
        await engine.close()
        store.close()


def _identifies(settings: Settings) -> Identifies:
    shards = settings.shard_count
    return Identifies(settings.data_dir, own=len(settings.shard_ids) or shards, shards=shards)


def bot_on(core: Core, settings: Settings, *, webhooks: bool, wait: Wait = plainly, **options: Any) -> PersonaBot:
    """The bot, with what is set for it. `options` are discord.py's own, and what only `run` has."""
    kind: type[PersonaBot] = PersonaBot
    if settings.shard_count > 1:
        kind = ShardedBot
        options |= {"shard_count": settings.shard_count, "shard_ids": list(settings.shard_ids) or None}
    return kind(
        core.chat,
        core.rework,
        core.retraining,
        core.privacy,
        core.feedback,
        admin_ids=settings.admin_ids,
        message_content=settings.message_content,
        stream=settings.stream,
        buttons=settings.reply_buttons,
        webhooks=webhooks,
        pace=Pace(settings.person_per_minute, settings.channel_per_minute),
        wait=wait,
        **options,
    )


def connector() -> aiohttp.TCPConnector:
    """What Discord is reached by. Left alone, discord.py opens a connection for every request of a moment.

    The limit is for each host: the gateway has one of its own, and waits for none of the others.
    """
    may_open, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return aiohttp.TCPConnector(limit=0, limit_per_host=max(1, min(MOST_CONNECTIONS, may_open // 4)))


@asynccontextmanager
async def seen(
    bot: PersonaBot, store: Store, engine: Measured, metrics: Metrics, settings: Settings
) -> AsyncIterator[None]:
    """Show machines how the bot is inside the block, where a port is set for it."""
    if not settings.metrics_port:
        yield
        return
    health = Health(bot, engine, metrics, store.answers_now)
    async with watched(health, settings.metrics_host, settings.metrics_port):
        yield


@asynccontextmanager
async def following(core: Core, serving: Serving) -> AsyncIterator[None]:
    """Keep the started engine on the adapter in service inside the block, unless a setting names another."""
    if not serving.followed:
        yield
        return
    task = asyncio.create_task(core.registry.follow(core.engine, serving.name))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def ended_without_model(model: ReplyEngine) -> AsyncIterator[None]:
    """End what goes on inside the block when the model is lost for good, and raise EngineLost then."""
    if not isinstance(model, LocalEngine):
        yield
        return
    task = asyncio.current_task()
    assert task is not None
    watching = asyncio.create_task(model.lost.wait())
    watching.add_done_callback(lambda done: done.cancelled() or task.cancel())
    try:
        yield
    except asyncio.CancelledError:
        if not model.lost.is_set():
            raise
        task.uncancel()
        raise EngineLost from None
    finally:
        watching.cancel()


@asynccontextmanager
async def forgetting(core: Core) -> AsyncIterator[None]:
    """Let go of what was said too long ago, inside the block."""
    task = asyncio.create_task(core.privacy.watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


@asynccontextmanager
async def one_of_many(core: Core, settings: Settings) -> AsyncIterator[None]:
    """Keep in step with other processes inside the block, where the settings leave shards to them."""
    if not settings.shard_ids:
        yield
        return
    async with in_step(core.chat, core.privacy):
        yield


@asynccontextmanager
async def retraining_in(bot: PersonaBot) -> AsyncIterator[None]:
    """Do the retrainings that are begun inside the block, and show in Discord how they go. The bot is logged in."""
    await bot.retraining.recover()
    try:
        async with bot.retraining.working():
            showing = asyncio.create_task(bot.announcer.run())
            try:
                yield
            finally:
                showing.cancel()
                await asyncio.wait((showing,))
    finally:
        # One that was interrupted just now is shown at the next start otherwise.
        with suppress(Exception):
            await asyncio.wait_for(bot.announcer.look(), GRACE_S)


@asynccontextmanager
async def _ended_in_order(bot: PersonaBot, engine: ReplyEngine) -> AsyncIterator[None]:
    """At the end finish what is under way, and only then close the engine: who waits for it would be sent away."""
    try:
        yield
    finally:
        await bot.drain.end()
        await engine.close()


async def _login(bot: PersonaBot, token: str) -> None:
    """Log in and see that the application has what the settings ask for: quick, so before the model is loaded."""
    try:
        await bot.login(token)
    except discord.LoginFailure:
        raise TokenRejected(BAD_TOKEN) from None
    except discord.HTTPException as error:
        raise DiscordUnreachable(REFUSED.format(status=error.status, code=error.code)) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise DiscordUnreachable(f"{NO_DISCORD} ({type(error).__name__})") from None
    flags = bot.application_flags
    allowed = flags.gateway_message_content or flags.gateway_message_content_limited
    if bot.intents.message_content and not allowed:
        raise IntentMissing(NO_INTENT)


async def start_engine(engine: ReplyEngine, model: ReplyEngine | None = None) -> None:
    """Load the model, with a bar where somebody looks. `model` is the engine inside of one that only counts."""
    with loading("Loading the model") as progress:
        model = model or engine
        if isinstance(model, LocalEngine):
            model.progress = progress
        facts = await engine.start()
    log.info("%s in %s on %s, adapter %s", facts.base, facts.precision, facts.device, facts.adapter or "none")


def _say_ready(bot: PersonaBot) -> None:
    if bot.application_id is not None:
        typer.echo(f"Invite me with {invite_url(bot.application_id)}")
    if not bot.intents.message_content:
        typer.echo("Without the Message Content intent I answer mentions, replies and direct messages.")
    typer.echo("Ready. Ctrl-C stops.")


async def _connect(bot: PersonaBot) -> None:
    try:
        await _connected(bot)
    except discord.PrivilegedIntentsRequired:
        raise IntentMissing(NO_INTENT) from None
    except discord.ConnectionClosed as error:
        if error.code == 4004:
            raise TokenRejected(BAD_TOKEN) from None
        closed = f"Discord closed the connection for good (code {error.code})."
        if error.code in REFUSED_FOR_GOOD:
            raise GatewayRefused(f"{closed} {REFUSED_FOR_GOOD[error.code]}") from None
        raise DiscordUnreachable(closed) from None
    except AttributeError:
        if bot.ws is not None:
            raise
        # The very first connection failed: https://github.com/Rapptz/discord.py/issues/10520
        raise DiscordUnreachable(NO_DISCORD) from None


async def _connected(bot: PersonaBot) -> None:
    """Stay connected until the end, or until Discord does not accept the token any more. Raises TokenRejected then."""
    connecting = asyncio.create_task(bot.connect())
    rejected = asyncio.create_task(bot.outgoing.rejected.wait())
    try:
        await asyncio.wait((connecting, rejected), return_when=asyncio.FIRST_COMPLETED)
        if rejected.done():
            raise TokenRejected(BAD_TOKEN)
        await connecting
    finally:
        connecting.cancel()
        rejected.cancel()
        await asyncio.wait((connecting, rejected))


@asynccontextmanager
async def stopped_by_signals(stopping: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """SIGTERM ends the bot as Ctrl-C does; a second one changes nothing. `stopping` is called with the first."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if stopped:
            return
        stopped = True
        stopping()
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)

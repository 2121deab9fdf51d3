"""`persona-chat run`: the bot on the real Discord. Everything is built here and handed down."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import typer

from bot.client import PersonaBot, invite_url
from bot.health import Health, watched
from bot.identifies import Identifies
from bot.log import not_awaited, start_log
from bot.login import NO_TOKEN, connect, connector, login
from bot.metrics import Measured, Metrics
from bot.pace import Pace
from bot.shards import ShardedBot, in_step
from persona_chat.chat import Chat
from persona_chat.engine import base
from persona_chat.engine.choice import engine_for
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.memory import kept_for_good
from persona_chat.engine.reply import ReplyEngine, Wait, plainly
from persona_chat.errors import (
    EngineLost,
    TokenMissing,
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
            await login(bot, token)
            await start_engine(engine, engine.inner)
            with kept_for_good():
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
                    await connect(bot)


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
        await asyncio.to_thread(store.prune_ledger)
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
        pace=Pace(settings.person_per_minute, settings.channel_per_minute, settings.server_per_minute),
        wait=wait,
        **options,
    )


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

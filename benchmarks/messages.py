"""How many messages the bot answers when the model costs nothing: everything else, on the real discord.py and SQLite.

    python -m benchmarks.messages [--messages 2000] [--channels 50] [--rounds 5]

Discord is simcord in this process, so its own work counts against us in the rate; that of a bot which only echoes says
how much that is. The time a message takes us is that of `on_message` from beginning to end, one message at a time,
without what simcord takes to deliver the reply.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import discord

from persona_chat.engine.memory import kept_for_good
from persona_chat.example import DAVID
from persona_chat.place import Place, Scope
from persona_chat.settings import Settings
from persona_chat.store.database import default_url, open_database
from persona_chat.store.schema import upgrade
from persona_chat.store.store import Store
from tests.discord_world import World, world


@asynccontextmanager
async def started(folder: Path, channels: int) -> AsyncIterator[tuple[World, list[int]]]:
    """A simulated Discord with our bot and so many channels with a persona."""
    url = default_url(folder)
    upgrade(url)
    store = Store(open_database(url))
    settings = Settings(_env_file=None, data_dir=folder, base="embedded", channel_queue=10_000, burst_s=0)
    try:
        async with world(store, settings, settle_timeout=120) as here:
            ids = [here.guild.create_text_channel(f"talk-{number}").id for number in range(channels)]
            await here.env.settle()
            for channel_id in ids:
                place = Place(channel_id, here.owner.id, here.guild.id)
                await here.bot.chat.cast.put(place, Scope.CHANNEL, DAVID)
            with kept_for_good():  # as `run` does
                yield here, ids
    finally:
        store.close()


async def rate(here: World, channels: list[int], messages: int) -> float:
    """Return messages a second, from the first that is posted to the last reply."""
    done = asyncio.Queue[int]()
    answer = here.bot.on_message

    async def answered(message: discord.Message) -> None:
        await answer(message)
        if message.author.id == here.guest.id:
            done.put_nowait(message.channel.id)

    here.bot.on_message = answered  # type: ignore[method-assign]
    began = time.perf_counter()
    for channel in channels:
        done.put_nowait(channel)
    # Somebody says the next thing in a channel when the last is answered.
    for number in range(messages + len(channels)):
        channel = await done.get()
        if not number % 50:
            let_go_of_cancelled_timers(here)
        if number < messages:
            here.env.backend.create_message(channel, here.guest.id, f"What is new, {number}?")
    took = time.perf_counter() - began
    here.bot.on_message = answer  # type: ignore[method-assign]
    await here.env.settle()
    return messages / took


def let_go_of_cancelled_timers(here: World) -> None:
    """Spare simcord what a real Discord does not have to do.

    It keeps every timer that was cancelled, as the one of each typing sign is, and looks through them at each callback:
    after 1,000 messages half of all time went there.
    """
    kept = here.env._work.callbacks
    kept[:] = [record for record in kept if record.handle is None or not record.handle.cancelled()]


def echo(here: World) -> Callable[[discord.Message], Awaitable[None]]:
    """A handler that does nothing but reply."""

    async def on_message(message: discord.Message) -> None:
        if message.author.id == here.guest.id:
            await message.channel.send(message.content, reference=message, nonce=f"{message.id}.0")

    return on_message


async def own_times(here: World, channels: list[int], messages: int) -> list[float]:
    """Return the seconds that single messages take us, without the sending."""
    times: list[float] = []
    outside = 0.0
    handle, send = here.bot.on_message, here.bot.faces.send

    async def timed(message: discord.Message) -> None:
        nonlocal outside
        outside = 0.0
        began = time.perf_counter()
        await handle(message)
        if message.author.id == here.guest.id:
            times.append(time.perf_counter() - began - outside)

    async def sent(*arguments: object, **more: object) -> int:
        nonlocal outside
        began = time.perf_counter()
        try:
            return await send(*arguments, **more)  # type: ignore[arg-type]
        finally:
            outside += time.perf_counter() - began

    here.bot.on_message, here.bot.faces.send = timed, sent  # type: ignore[method-assign]
    for number in range(messages):
        here.env.backend.create_message(channels[number % len(channels)], here.guest.id, f"And now, {number}?")
        await here.env.settle()
    here.bot.on_message, here.bot.faces.send = handle, send  # type: ignore[method-assign]
    return times


async def measure(options: argparse.Namespace) -> None:
    """Measure and print."""
    rates: list[float] = []
    bare: list[float] = []
    for _ in range(options.rounds):
        for found, echoes in ((rates, False), (bare, True)):
            with tempfile.TemporaryDirectory() as folder:
                async with started(Path(folder), options.channels) as (here, channels):
                    if echoes:
                        here.bot.on_message = echo(here)  # type: ignore[method-assign, assignment]
                    await rate(here, channels, 100)  # warms up
                    found.append(await rate(here, channels, options.messages))
    with tempfile.TemporaryDirectory() as folder:
        async with started(Path(folder), options.channels) as (here, channels):
            times = sorted(await own_times(here, channels, 300))
    print(
        f"{statistics.median(rates):.0f} messages a second ({min(rates):.0f} to {max(rates):.0f}, {len(rates)} rounds "
        f"of {options.messages} in {options.channels} channels)"
    )
    print(f"a bot that only echoes: {statistics.median(bare):.0f} ({min(bare):.0f} to {max(bare):.0f})")
    print(
        f"our own time a message: {1000 * statistics.median(times):.1f} ms, 95 % under "
        f"{1000 * times[int(0.95 * len(times))]:.1f} ms ({len(times)} messages)"
    )


def main() -> None:
    """Measure as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--channels", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()

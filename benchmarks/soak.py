"""Whether the engine stays within its memory, and the event loop free, over many turns in many channels.

    python -m benchmarks.soak [--turns 2000] [--channels 200] [--at-once 16] [--data-dir FOLDER]

The real engine with the adapter that ships, short personas and replies of 6 tokens. First as many as talk at once ask
with a window that is full, twice: room for that is kept, and would be made sooner or later. Prints the memory of the
process after each round of channels, how much it grew after the first fifth, and by how much the event loop was late.
"""

import argparse
import asyncio
import contextlib
import time
from array import array
from pathlib import Path

import psutil

from persona_chat.adapters import SHIPPED
from persona_chat.dialogue import Speaker, Turn
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.memory import kept_for_good
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.persona import Persona
from persona_chat.settings import load_settings

MB = 1_000_000
TICK_S = 0.005


class Talk:
    """One channel's conversation."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.persona = Persona(f"Robin {channel}", "", (f"My lucky number is {channel}.", "I love strong tea."))
        self.turns: list[Turn] = []

    def has_talked_for_long(self) -> None:
        """Have said more than any window holds."""
        long = "It was a long day at the harbour, and in the evening we sat together and told each other stories. " * 3
        self.turns = [Turn(Speaker.B if number % 2 else Speaker.A, f"{number}: {long}") for number in range(40)]

    async def go_on(self, engine: LocalEngine) -> None:
        """Say something and hear the reply."""
        self.turns.append(Turn(Speaker.A, f"This is my message number {len(self.turns) // 2 + 1}. What do you say?"))
        asked = ReplyRequest(self.persona, tuple(self.turns), Sampling(6, 0.7, whole=True), 600, self.channel)
        self.turns.append(Turn(Speaker.B, (await engine.reply(asked)).text))


async def watch(late: "array[float]") -> None:
    """Note by how many seconds the loop comes late, until cancelled."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(TICK_S)
        late.append(time.perf_counter() - before - TICK_S)


async def soak(turns: int, channels: int, at_once: int, data_dir: Path | None) -> None:
    """Talk and print."""
    settings = load_settings(data_dir=data_dir).model_copy(update={"queue_size": 4 * at_once})
    engine = LocalEngine(settings, adapter=SHIPPED)
    await engine.start()
    with kept_for_good():  # as `run` does
        await _talk(engine, turns, channels, at_once)
    await engine.close()


async def _talk(engine: LocalEngine, turns: int, channels: int, at_once: int) -> None:
    talks = [Talk(number) for number in range(channels)]
    late = array("f")  # as objects these were a tenth of what the process grew by
    watching = asyncio.create_task(watch(late))
    room = asyncio.Semaphore(at_once)
    memory: list[float] = []
    began = time.perf_counter()

    async def one(talk: Talk) -> None:
        async with room:
            await talk.go_on(engine)

    for number in range(2 * at_once):
        talk = Talk(channels + number)
        talk.has_talked_for_long()
        talks.append(talk)
    await asyncio.gather(*(one(talk) for talk in talks[channels:]))
    del talks[channels:]
    print(f"{'full':>6} windows  {psutil.Process().memory_info().rss / MB:5.0f} MB", flush=True)
    del late[:]
    for done in range(0, turns, channels):
        await asyncio.gather(*(one(talk) for talk in talks))
        memory.append(psutil.Process().memory_info().rss / MB)
        spent = time.perf_counter() - began
        print(f"{done + channels:6} turns  {memory[-1]:7.0f} MB  {spent:6.0f} s", flush=True)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    warm = memory[len(memory) // 5]
    latest = sorted(late)[int(0.99 * len(late))]
    print(f"memory after the first fifth {warm:.0f} MB, at the end {memory[-1]:.0f} MB: {memory[-1] / warm - 1:+.1%}")
    print(f"the loop was late by {1000 * latest:.1f} ms or more 1 % of the time ({len(late)} looks)")


def main() -> None:
    """Talk as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=2000)
    parser.add_argument("--channels", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--data-dir", type=Path, default=None)
    options = parser.parse_args()
    asyncio.run(soak(options.turns, options.channels, options.at_once, options.data_dir))


if __name__ == "__main__":
    main()

"""Adapters exchanged again and again: no reply is of a mixture, and none that does not serve stays in memory."""

import asyncio
import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from persona_chat.bases import config_of
from persona_chat.engine import lora
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.products import Lora, Product
from persona_chat.engine.reply import Reply, ReplyRequest, Sampling
from persona_chat.engine.thread import ModelThread
from persona_chat.registry import Registry
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.swap import Swap
from tests.adapter_folders import make_adapter, write_card
from tests.model_fixtures import HELLO, VERA, started
from tests.torture import count, record

ASK = ReplyRequest(VERA, HELLO, Sampling(6, 0, whole=True))
AT_ONCE = count(20, 50)
SWAPS = count(3, 20)
CYCLES = count(5, 100)
LARGE = 2048  # a rank at which what is left of one adapter is seen in the memory of a process


def adapter(folder: Path, base: Path, seed: int, rank: int = 8) -> Path:
    made = make_adapter(folder, seed=seed, made_for=str(base), config=config_of(str(base)), rank=rank, strength=1.0)
    write_card(made, base=str(base))
    return made


@pytest.mark.parametrize("waits", [True, False][: count(1, 2)])
async def test_swaps_under_many_replies_mix_nothing_and_lose_none(
    tiny_engine: Callable[..., LocalEngine],
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waits: bool,
) -> None:
    """D4. Always so many are under way; a swap that did not wait for them would be seen in what they say."""
    folders = [adapter(tmp_path / name, tiny_base, seed) for seed, name in enumerate("ab")]
    cold: dict[str | None, str] = {}
    replies: list[Reply] = []
    async with started(tiny_engine()) as engine:
        for folder in (*folders, None):
            called = await engine.use(folder)
            cold[called] = (await engine.reply(ASK)).text
        assert len(set(cold.values())) == 3, "else this proves nothing"
        if not waits:
            submit = ModelThread.submit
            monkeypatch.setattr(ModelThread, "submit", lambda self, work, after_all=False: submit(self, work))

        async def talk(channel: int) -> None:
            for _ in range(SWAPS + 1):
                replies.append(await engine.reply(replace(ASK, channel=channel)))

        async def swap() -> None:
            for number in range(SWAPS):
                while len(replies) < AT_ONCE * (number + 0.5):  # noqa: ASYNC110  tasks of ours make them
                    await asyncio.sleep(0.002)
                await engine.use(folders[number % 2])

        await asyncio.wait_for(asyncio.gather(swap(), *map(talk, range(AT_ONCE))), 120)
    mixed = sum(reply.text != cold[reply.adapter] for reply in replies)
    which = "D4" if waits else "D4 without waiting"
    record(which, swaps=SWAPS, replies=len(replies), at_once=AT_ONCE, mixed=mixed)
    assert len(replies) == AT_ONCE * (SWAPS + 1)
    assert len({reply.adapter for reply in replies}) == 3
    assert (mixed == 0) is waits


def in_memory() -> int:
    """The bytes of all adapters that something still refers to."""
    gc.collect()
    loras = [one for one in gc.get_objects() if type(one) is Lora]
    tensors = {id(tensor): tensor for one in loras for tensor in (one.down, one.up)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def nothing_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what served once be kept, as if it might serve again."""
    kept: list[Lora | None] = []
    wear = Product.wear

    def hoards(self: Product, worn: Lora | None) -> None:
        kept.append(worn)
        wear(self, worn)

    monkeypatch.setattr(Product, "wear", hoards)


@pytest.mark.parametrize("lets_go", [True, False][: count(1, 2)])
async def test_after_many_swaps_and_ways_back_memory_is_what_it_was(
    tiny_engine: Callable[..., LocalEngine],
    tiny_base: Path,
    settings: Settings,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    none_ships: None,
    lets_go: bool,
) -> None:
    """D5."""
    registry = Registry(settings.data_dir, store, str(tiny_base))
    for seed, name in enumerate("ab"):
        registry.import_(str(adapter(tmp_path / name, tiny_base, seed, LARGE)))
    cycles = CYCLES if lets_go else min(CYCLES, 10)
    most, made, watched = 0, lora.loras, False

    def noted(*given: Any) -> Any:
        nonlocal most
        new = made(*given)
        if watched:
            most = max(most, in_memory())
        return new

    monkeypatch.setattr(lora, "loras", noted)
    async with started(tiny_engine()) as engine:
        swap = Swap(settings, registry, engine)

        async def cycle() -> None:
            await swap.use("a", "again")
            assert await swap.rollback() == "b"
            called = (await engine.reply(ASK)).adapter
            assert called is not None
            assert called.startswith("b@")

        await swap.use("b", "first")
        one = in_memory()
        for _ in range(min(CYCLES, 10)):  # what a process takes once
            await cycle()
        if not lets_go:
            nothing_let_go(monkeypatch)
        before = psutil.Process().memory_info().rss
        for number in range(cycles):
            watched = number % 5 == 0
            await cycle()
        grown = psutil.Process().memory_info().rss / before - 1
        at_the_end = in_memory()
    which = "D5" if lets_go else "D5 without letting go"
    adapters = {"adapters_at_most": round(most / one, 1), "adapters_at_the_end": round(at_the_end / one, 1)}
    record(which, cycles=cycles, grown_percent=round(100 * grown, 1), **adapters)
    assert (grown <= 0.05) is lets_go
    assert (most <= 2 * one) is lets_go
    assert (at_the_end == one) is lets_go

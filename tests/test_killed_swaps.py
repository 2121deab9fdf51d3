"""An adapter that is taken in and put in service by a process that is killed in the middle: the old one or the new."""

import asyncio
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import persona_chat
from persona_chat.fit import check_whole
from persona_chat.registry import Registry
from persona_chat.settings import Settings
from persona_chat.store.database import open_database
from persona_chat.store.store import Store
from persona_chat.swap import Swap
from tests.adapter_folders import make_adapter, write_card
from tests.fatal_line import FatalLine
from tests.postgres import kind_of
from tests.torture import count, record

pytestmark = [pytest.mark.both_databases, pytest.mark.timeout(count(300, 1200))]

KILLS = count(4, 60)
OURS = Path(persona_chat.__file__).parent


def in_child(act: Callable[[], None], kill_at: int) -> int | None:
    """Do it in a process that is killed before that line of ours; return how many lines it ran if it was not."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with FatalLine(OURS, kill_at) as line:
                act()
            os.write(writing, str(line.ran).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        told = said.read()
    _, status = os.waitpid(child, 0)
    assert bool(told) is not os.WIFSIGNALED(status)
    return int(told) if told else None


def test_a_killed_swap_leaves_the_old_adapter_in_service_or_the_new_one(
    two: Registry, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    source = make_adapter(tmp_path / "three", seed=3)
    write_card(source)
    found: dict[str | None, int] = {"one": 0, "three": 0}

    def take_in() -> None:
        store = Store(open_database(database_url), settings.data_dir)
        registry = Registry(settings.data_dir, store, "embedded")
        registry.import_(str(source))
        asyncio.run(Swap(settings, registry, None).use("three", "chosen"))
        store.close()

    def begin_anew() -> None:
        two.use("one")
        if "three" in [entry.name for entry in two.list()]:
            two.remove("three")

    def all_lines() -> int:
        begin_anew()
        lines = in_child(take_in, sys.maxsize)
        assert lines is not None
        return lines

    late = KILLS // 4  # around the moment at which the pointer moves, which is near the end
    early = random.Random(4).sample(range(2, all_lines() - late), KILLS - late)
    for number in range(KILLS):
        place = sorted(early)[number] if number < len(early) else all_lines() - (KILLS - 1 - number)
        begin_anew()
        assert in_child(take_in, place) is None
        serves = two.in_service()
        found[serves] += 1
        assert serves is not None
        for entry in two.list():
            check_whole(entry.folder, "embedded")
        take_in()  # works again, whatever was left behind
        assert two.in_service() == "three"
    assert set(found) == {"one", "three"}
    old, new = found["one"], found["three"]
    record("B4", database=kind_of(database_url), kills=KILLS, old=old, new=new, neither=0)

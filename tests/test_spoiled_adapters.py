"""Adapters that are spoiled, under hostile names, or pickles: refused before anything serves, opens or runs them."""

import os
import pickle
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from persona_chat.adapters import CONFIG, WEIGHTS
from persona_chat.bases import config_of
from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import ReplyRequest, Sampling
from persona_chat.errors import AdapterRefused, InputError
from persona_chat.registry import Registry, adapters_folder
from persona_chat.settings import Settings
from persona_chat.store.store import Store
from persona_chat.swap import Swap
from tests.adapter_folders import SPOILED, make_adapter, write_card
from tests.hostile import PIECES
from tests.model_fixtures import HELLO, VERA, started
from tests.torture import count, record

ASK = ReplyRequest(VERA, HELLO, Sampling(24, 0, whole=True))
FLIPS = count(5, 50)
NAMES = count(50, 500)
HOME = Path(__file__).parents[1]


def names(registry: Registry) -> list[str]:
    return [entry.name for entry in registry.list()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(file: Path, chance: random.Random) -> None:
    """Change one byte, at any place."""
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= chance.randrange(1, 256)
    file.write_bytes(content)


async def test_a_byte_that_flipped_anywhere_keeps_an_adapter_from_serving(
    tiny_engine: Callable[..., LocalEngine],
    tiny_base: Path,
    settings: Settings,
    store: Store,
    tmp_path: Path,
    none_ships: None,
) -> None:
    """D1. Refused by the registry, by the engine, and where it lies in the registry already; what serves goes on."""
    registry, chance = Registry(settings.data_dir, store, str(tiny_base)), random.Random(8)
    sound = {}
    for seed, name in enumerate(("one", "two")):
        sound[name] = make_adapter(
            tmp_path / name, seed=seed, made_for=str(tiny_base), config=config_of(str(tiny_base)), strength=1.0
        )
        write_card(sound[name], base=str(tiny_base))
        registry.import_(str(sound[name]))
    async with started(tiny_engine()) as engine:
        swap = Swap(settings, registry, engine)
        await swap.use("one", "chosen")
        expected = await engine.reply(ASK)
        serving = contents(registry.folder("one"))
        for _ in range(FLIPS):
            candidate = shutil.copytree(sound["two"], tmp_path / "candidate", dirs_exist_ok=True)
            flip(candidate / WEIGHTS, chance)
            with pytest.raises(AdapterRefused):
                registry.import_(str(candidate), name="candidate")
            with pytest.raises(AdapterRefused):
                await engine.use(candidate)
            flip(registry.folder("two") / WEIGHTS, chance)
            with pytest.raises(AdapterRefused):
                await swap.use("two", "chosen")
            shutil.copyfile(sound["two"] / WEIGHTS, registry.folder("two") / WEIGHTS)
            said = await engine.reply(ASK)
            assert (said.text, said.adapter) == (expected.text, expected.adapter)
            assert (names(registry), registry.in_service()) == (["one", "two"], "one")
        assert contents(registry.folder("one")) == serving
        await swap.use("two", "chosen")
        assert (await engine.reply(ASK)).text != expected.text, "else this proves nothing"
    record("D1 flipped bytes", flips=2 * FLIPS, refused=3 * FLIPS, registered=0, replies_changed=0)


def test_whatever_is_spoiled_is_neither_taken_in_nor_put_in_service(
    two: Registry, trained: Path, tmp_path: Path
) -> None:
    """D1. What the model itself refuses, and that it stays as it was, is in `test_adapters.py`."""
    before = contents(adapters_folder(two._data_dir))
    for number, (spoil, said) in enumerate(SPOILED.values()):
        candidate = shutil.copytree(trained, tmp_path / f"candidates/{number}/candidate")
        spoil(candidate)
        with pytest.raises(AdapterRefused, match=said):
            two.import_(str(candidate), template="persona-ab-1")
        assert contents(adapters_folder(two._data_dir)) == before
        assert two.in_service() == "one"
    record("D1 spoiled otherwise", variants=len(SPOILED), refused=len(SPOILED), registered=0)


opened: list[str] | None = None


def _hears(event: str, given: tuple[Any, ...]) -> None:
    if opened is not None and event.split(".")[0] in ("open", "os", "shutil", "tempfile"):
        paths = (os.fsdecode(one) for one in given if isinstance(one, str | bytes | os.PathLike))
        opened.extend(path for path in paths if os.sep in path)  # others are of a folder that was opened


@contextmanager
def opening() -> Iterator[list[str]]:
    """Every path that Python opens, makes, moves or removes inside the block."""
    global opened
    if not getattr(_hears, "added", False):  # there is no way to take one away
        sys.addaudithook(_hears)
        setattr(_hears, "added", True)  # noqa: B010  a function's own
    opened = []
    try:
        yield opened
    finally:
        opened = None


FRAGMENTS = (
    *("..", ".", "/", "\\", "~", "$HOME", "%2e%2e%2f", "\0", "\n", "\x7f", "*", "?", "|", "a", "one", "two", "default"),
    *("none", "CON", "nul.", "a:b", "file://", "hf://", "-rf", "--name", "etc", "passwd", "\u2024", "\uff0e", "\u200b"),
    *(
        "\u0430",
        "\u00e4",
        ".importing-",
        ".removing-",
        "adapters",
        "card.json",
        "x" * 65,
        "0",
        "_",
        "..\\",
        "/../",
        "//",
    ),
)


def hostile_names() -> list[str]:
    """Names that are made of what leads elsewhere, of what looks like another name, and of what people type."""
    chance = random.Random(9)
    made: dict[str, None] = dict.fromkeys(PIECES)
    while len(made) < NAMES:
        made["".join(chance.choice(FRAGMENTS) for _ in range(chance.randrange(1, 5)))] = None
    return chance.sample(list(made), NAMES)


def test_no_name_opens_anything_outside_of_the_folder(two: Registry, trained: Path, tmp_path: Path) -> None:
    """D2. Neither where an adapter is taken in, shown, put in service or removed."""
    outside = tmp_path / "outside"
    shutil.copytree(trained, outside)
    (adapters_folder(two._data_dir) / "link").symlink_to(outside)
    two.import_(str(trained), name="warm")  # what is imported late is imported now
    two.remove("warm")
    before = contents(tmp_path)
    allowed = [two._data_dir, trained, Path(sys.base_prefix), Path(sys.prefix), HOME, Path("/proc"), Path("/sys")]
    refused = 0
    with opening() as paths:
        for name in ["link", *hostile_names()]:
            for act in (two.show, two.use, two.remove):
                if name not in ("one", "two"):
                    with pytest.raises(InputError):
                        act(name)
            with suppress(InputError):
                two.import_(str(trained), name=name)
                two.remove(name)  # one that may be: it was made there, and goes from there
                continue
            refused += 1
    away = {path for path in paths if not any(Path(os.path.realpath(path)).is_relative_to(one) for one in allowed)}
    record("D2", names=NAMES, refused=refused - 1, opened_outside=len(away))
    assert not away
    assert any(WEIGHTS in path for path in paths), "else this proves nothing"
    assert contents(tmp_path) == before
    assert (names(two), two.in_service()) == (["one", "two"], "one")


class Runs:
    """Something that makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return (open, (str(self._mark), "w"))


def as_torch_saves(file: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)


PICKLES: dict[str, Callable[[Path, bytes], object]] = {
    "in the place of the weights": lambda f, p: ((f / "adapter_model.bin").write_bytes(p), (f / WEIGHTS).unlink()),
    "under the name of the weights": lambda f, p: (f / WEIGHTS).write_bytes(p),
    "as torch saves": lambda f, p: as_torch_saves(f / WEIGHTS, p),
    "beside the weights": lambda f, p: (f / "training_args.bin").write_bytes(p),
    "in the place of its config": lambda f, p: (f / CONFIG).write_bytes(p),
}


async def test_no_pickle_is_ever_run(
    tiny_engine: Callable[..., LocalEngine], tiny_base: Path, settings: Settings, store: Store, tmp_path: Path
) -> None:
    """D3."""
    mark = tmp_path / "ran"
    pickled = pickle.dumps(Runs(mark))
    pickle.loads(pickled).close()
    assert mark.exists(), "else this proves nothing"
    mark.unlink()
    registry = Registry(settings.data_dir, store, str(tiny_base))
    async with started(tiny_engine()) as engine:
        for number, put in enumerate(PICKLES.values()):
            folder = make_adapter(
                tmp_path / f"{number}/candidate", made_for=str(tiny_base), config=config_of(str(tiny_base))
            )
            put(folder, pickled)
            if (folder / WEIGHTS).exists():
                write_card(folder, base=str(tiny_base))
            with pytest.raises(AdapterRefused):
                registry.import_(str(folder), name="candidate")
            with pytest.raises(AdapterRefused):
                await engine.use(folder)
            assert not mark.exists()
    record("D3", pickles=len(PICKLES), refused=2 * len(PICKLES), ran=0)

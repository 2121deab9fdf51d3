"""How much memory models may still take, giving it back, and what errors say of that. Importing it imports no torch."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

NEW_OBJECTS = 10_000
"""After so many new ones Python looks through them for cycles; by itself after 700 to 2,000."""

_CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int:
    """Return how much memory is free for models on `cpu`, or on a device such as `cuda:0`."""
    if device == "cpu":
        return min(psutil.virtual_memory().available, _allowed())
    import torch

    return int(torch.cuda.mem_get_info(device)[0])


def give_back() -> None:
    """Give back what models that nobody refers to any more had in memory."""
    import torch

    kept = gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.collect()  # models are full of cycles
    if kept:
        gc.freeze()
    trim()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Inside the block Python does not look for cycles of garbage in what was there before, and seldom in what comes.

    Most objects of a bot are of libraries and never go, and to look through all 300,000 stopped every thread for 0.1
    seconds and more, five times while 2,000 messages were answered.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def trim() -> None:
    """Give back what was freed: glibc keeps it, in holes between what is used. Takes some milliseconds."""
    with suppress(AttributeError, OSError):  # only glibc has this
        ctypes.CDLL(None).malloc_trim(0)


def is_shortage(error: BaseException) -> bool:
    """Whether this error of torch says that memory does not suffice."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # On a CPU torch raises a plain RuntimeError, and so it does for what CUDA's libraries ask for by themselves.
    return any(words in str(error) for words in ("can't allocate memory", "out of memory", "ALLOC_FAILED"))


def is_lost(error: BaseException) -> bool:
    """Whether this error of torch says that a device is lost to this process.

    After a fault of a kernel CUDA gives the same error to every call until the process ends ("sticky":
    https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html).
    """
    return "CUDA error" in str(error) and not is_shortage(error)


def _allowed() -> int:
    """What a container's limit leaves; without one, no bound."""
    with suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())
        stats = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # Files that were read lately count as used, and go when something else needs the room.
        used = int((_CGROUP / "memory.current").read_text()) - int(stats["inactive_file"])
        return max(0, limit - used)
    return 2**62

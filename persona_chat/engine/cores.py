"""The cores this process may use, by its affinity mask and its cgroup, and how torch shares them with others."""

import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
# On two cores: 17 tokens a second alone (without a limit 20), and 3 for each of two engines (without, 0.3).
_SPINS = "20000"

# oneDNN keeps what it prepared for 1,024 shapes of products, and torch's layer above it their descriptions, a quarter
# of a megabyte each. Prompts are read in pieces of any length, so there are hundreds: after 600 pieces oneDNN's took
# 330 MB. With 24 of them reading was as fast, with 8 half as fast.
_SHAPES = "128"


def available_cores(cpu_max: Path = _CPU_MAX) -> int:
    """Return the cores this process may use, at least 1. `cpu_max` is cgroup v2's "quota period" file."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity masks
        cores = os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        # A quota of 1.5 cores throttles two busy threads, so round down.
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2 here, or the quota is "max"
        pass
    return max(1, cores)


def share_cores() -> None:
    """Let torch's threads spin only briefly before they sleep, and its products take little memory.

    Works before torch is first imported.

    They spin for each other by default, and where another process wants the same cores (a training beside the
    bot) they spin against it: measured on two cores, 4 s a token instead of 0.3 s. A value that the operator
    has set stays.
    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    https://uxlfoundation.github.io/oneDNN/dev_guide_primitive_cache.html
    """
    for cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(cache, _SHAPES)
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)

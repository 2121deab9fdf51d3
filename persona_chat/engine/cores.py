"""How many cores this process may use: not the machine's, but those of its affinity mask and its cgroup."""

import os
from pathlib import Path

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


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

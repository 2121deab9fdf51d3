"""A process of this machine that is known beyond its lifetime, by its number and when it started."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass

import psutil

# Numbers are used again, so the start is compared too. It is computed from the clock, which may be set a little.
_SAME_START_S = 2.0


@dataclass(frozen=True)
class Process:
    """A process: its number, and when it started in seconds since the epoch."""

    pid: int
    started: float

    @property
    def alive(self) -> bool:
        """Whether it still runs; what ended and was not yet collected by its parent does not."""
        found = find_process(self.pid)
        return found is not None and abs(found.started - self.started) < _SAME_START_S

    def end(self) -> None:
        """End it at once with everything in its process group, if it still runs and leads that group."""
        if not self.alive:
            return
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)


def this_process() -> Process:
    """Return the process that calls."""
    return Process(os.getpid(), psutil.Process().create_time())


def find_process(pid: int) -> Process | None:
    """Return the running process of this number."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Process(pid, process.create_time())
    except psutil.Error:
        return None

"""When the bot may begin another session: Discord takes a thousand IDENTIFYs a day, and then it resets the token.

Their times are kept in the data folder, so that a bot which a supervisor starts again and again waits too. It knows no
Discord.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "identifies.json"

DAY_S = 86_400.0

AT_ONCE, LATELY_S, APART_S = 5, 600.0, 90.0
"""After so many in so long a time the next comes so long after the last one."""

MANY, FAR_APART_S = 500, 300.0
"""The same after so many in a day: then a whole day has 640 of them."""


class Identifies:
    """Counts them in a file of the folder. `own` of the `shards` that share the token are this process's."""

    def __init__(
        self,
        folder: Path,
        own: int = 1,
        shards: int = 1,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._path = folder / NAME
        self._now, self._sleep = now, sleep
        share = shards / own
        self._rules = (
            (AT_ONCE * own, LATELY_S * shards, APART_S * share),
            (MANY / share, DAY_S, FAR_APART_S * share),
        )
        self._times = _read(self._path)

    def wait_s(self) -> float:
        """Return in how many seconds the next may be sent."""
        now = self._now()
        past = [at for at in self._times if at <= now]  # others are of a clock that was set back
        waits = [
            past[-1] + apart_s - now
            for many, within_s, apart_s in self._rules
            if sum(at > now - within_s for at in past) >= many
        ]
        return max([0.0, *waits])

    async def wait(self, at_most_s: float = DAY_S) -> bool:
        """Wait until the next may be sent, not longer than so long; whether it may."""
        if (wait_s := self.wait_s()) > 1:
            log.warning("many sessions with Discord were begun lately; the next one is begun in %.0f s", wait_s)
        left_s = at_most_s
        while (wait_s := min(self.wait_s(), left_s)) > 0:
            await self._sleep(wait_s)
            left_s -= wait_s
        return not self.wait_s()

    async def count(self) -> None:
        """Note that one is being sent."""
        now = self._now()
        self._times = [at for at in self._times if now - DAY_S < at <= now] + [now]
        try:
            await asyncio.to_thread(_write, self._path, self._times)
        except OSError as error:  # a disk that is full keeps nobody from starting
            log.warning("it could not be kept when sessions were begun: %s", error.strerror)


def _read(path: Path) -> list[float]:
    try:
        return sorted(float(at) for at in json.loads(path.read_bytes()))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        log.warning("when sessions were begun cannot be read: %s", type(error).__name__)
        return []


def _write(path: Path, times: list[float]) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(times))
    new.replace(path)

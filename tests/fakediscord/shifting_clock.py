"""A clock of the wall that jumps while a process runs: an hour ahead at SIGUSR1, an hour back at SIGUSR2.

Python offers no other way than to put it in the place of the real one wherever that was imported. The clock that waits
are measured by stays as it is, as in a machine whose time is set.
"""

import datetime
import signal
import sys
import time
from types import ModuleType
from typing import Any

OURS = ("bot", "persona_chat", "discord", "tests")
HOUR_S = 3600.0

_ahead_s = 0.0
_real_time, _real_datetime = time.time, datetime.datetime


class _Kind(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _real_datetime)


class _Shifted(datetime.datetime, metaclass=_Kind):
    """Makes real datetimes, which nobody can tell from others."""

    def __new__(cls, *given: Any, **more: Any) -> Any:
        return _real_datetime(*given, **more)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real_datetime.fromtimestamp(_shifted_time(), tz)

    @classmethod
    def utcnow(cls) -> Any:
        return _real_datetime.fromtimestamp(_shifted_time(), datetime.UTC).replace(tzinfo=None)


def _shifted_time() -> float:
    return _real_time() + _ahead_s


def _shift(by_s: float) -> None:
    global _ahead_s
    _ahead_s += by_s


def install(ahead_s: float = 0.0) -> None:
    """Put it in place in all that was imported so far, so many seconds ahead of the real one."""
    _shift(ahead_s)
    shifted = ModuleType("datetime")
    vars(shifted).update(vars(datetime) | {"datetime": _Shifted})
    time.time = _shifted_time
    for name, module in tuple(sys.modules.items()):
        if name.split(".")[0] in OURS and name != __name__:
            for known, value in tuple(vars(module).items()):
                if value is _real_datetime:
                    setattr(module, known, _Shifted)
                elif value is datetime:
                    setattr(module, known, shifted)
    signal.signal(signal.SIGUSR1, lambda *_: _shift(HOUR_S))
    signal.signal(signal.SIGUSR2, lambda *_: _shift(-HOUR_S))

"""What must be written, once the database can be written again. Knows no table."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from persona_chat.inbox import TOO_OLD
from persona_chat.store.database import AWAY

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""Between two tries; each of them waits for the lock of SQLite besides."""


async def kept(verb: Callable[P, T], *given: P.args, **more: P.kwargs) -> T:
    """Run a verb of the store in a thread; while the database is locked, full or gone, again and again.

    Raises what the database does when that took longer than anybody waits for an answer.
    """
    since, said = time.monotonic(), False
    while True:
        try:
            return await asyncio.to_thread(verb, *given, **more)
        except AWAY as error:
            if time.monotonic() - since > TOO_OLD.total_seconds():
                raise
            if not said:
                log.warning("the database takes nothing, which is tried again: %s", type(error).__name__)
            said = True
        await asyncio.sleep(PAUSE_S)

"""A database that takes no more pages from SIGUSR1 on, until SIGUSR2: SQLite's `max_page_count`."""

import signal
import sqlite3

from sqlalchemy import event
from sqlalchemy.pool import Pool

FULL, ROOM = 1, 2**30  # SQLite takes a number below its pages for as many as there are

_pages = ROOM


def _allow(pages: int) -> None:
    global _pages
    _pages = pages


def _limit(connection: sqlite3.Connection, *_given: object) -> None:
    connection.execute(f"PRAGMA max_page_count={_pages}").close()


def install() -> None:
    """Let each connection have the limit of the moment: it is a connection's own."""
    event.listen(Pool, "checkout", _limit)
    signal.signal(signal.SIGUSR1, lambda *_: _allow(FULL))
    signal.signal(signal.SIGUSR2, lambda *_: _allow(ROOM))

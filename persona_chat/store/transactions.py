"""Transactions of a database, one for each verb or one for many verbs together."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from persona_chat.store.database import AWAY

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a verb returned, or what it raised."""

    value: Any = None
    error: Exception | None = None


class _Joined(threading.local):
    """The transaction that verbs called in this thread are a part of."""

    connection: Connection | None = None


class Transactions:
    """Those that read, or those that write: calling it begins one, or joins that of the verbs it is run with."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._begin = begin
        self._joined = _Joined()

    @contextmanager
    def __call__(self) -> Iterator[Connection]:
        """Have a transaction inside the block."""
        if self._joined.connection is not None:
            yield self._joined.connection
            return
        with self._begin() as connection:
            yield connection

    def together(self, verbs: Sequence[Callable[[], Any]]) -> list[Outcome]:
        """Run verbs in one transaction, which costs little more than one of them; return what each did.

        All count or, while the database takes nothing, none. Where one fails otherwise each has its own transaction.
        """
        if len(verbs) > 1:
            try:
                with self._joining():
                    return [Outcome(verb()) for verb in verbs]
            except AWAY as error:
                return [Outcome(error=error) for _ in verbs]
            except Exception as error:
                log.info("%d verbs are tried one by one: %s", len(verbs), type(error).__name__)
        return [_outcome(verb) for verb in verbs]

    @contextmanager
    def _joining(self) -> Iterator[None]:
        with self() as connection:
            self._joined.connection = connection
            try:
                yield
            finally:
                self._joined.connection = None


def _outcome(verb: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(verb())
    except Exception as error:
        return Outcome(error=error)

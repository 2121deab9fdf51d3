"""Columns that hold what people said: encrypted on their way into the database and decrypted on the way out.

Under which keys is the engine's own matter, so it is found by the engine's dialect, which belongs to no other.
"""

import json
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import JSON, Dialect, Engine, TypeDecorator

from persona_chat.store.keys import NO_KEYS, Keys
from persona_chat.store.tables.columns import Words

_KEYS: WeakKeyDictionary[Dialect, Keys] = WeakKeyDictionary()


def give_keys(engine: Engine, keys: Keys) -> None:
    """Let an engine keep words under these keys; without them they are kept as they are."""
    _KEYS[engine.dialect] = keys


class Spoken(Words):
    """Words. Raises KeyMissing and WordsUnreadable when they are read.

    "" stays "" in the database, so it can be compared with there; no other words can.
    """

    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__()
        self.column = column

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Leave out what no database keeps, and encrypt."""
        words = super().process_bind_param(value, dialect)
        return None if words is None else _keys(dialect).seal(words, self.column)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Decrypt."""
        return None if value is None else _keys(dialect).open(value, self.column)


class SpokenList(TypeDecorator[list[Any]]):
    """Words in a list, as JSON; encrypted, it is a JSON string. Raises as `Spoken` does."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def __init__(self, column: str) -> None:
        super().__init__(none_as_null=True)
        self.column = column

    def process_bind_param(self, value: list[Any] | None, dialect: Dialect) -> list[Any] | str | None:
        """Encrypt."""
        keys = _keys(dialect)
        if value is None or keys.writing is None:
            return value
        return keys.seal(json.dumps(value), self.column)

    def process_result_value(self, value: list[Any] | str | None, dialect: Dialect) -> list[Any] | None:
        """Decrypt."""
        if not isinstance(value, str):
            return value
        opened: list[Any] = json.loads(_keys(dialect).open(value, self.column))
        return opened


def _keys(dialect: Dialect) -> Keys:
    return _KEYS.get(dialect, NO_KEYS)

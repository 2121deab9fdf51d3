"""PostgreSQL: how connections to it are set up, how its transactions begin, and what its errors mean to a person."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

# Any number will do, as long as every process of ours takes the same.
WRITE_LOCK = 5_701_233_418

# Milliseconds. The last one ends a process that hangs with the write lock: the server lets go of it.
LIMITS = {"statement_timeout": 30_000, "lock_timeout": 10_000, "idle_in_transaction_session_timeout": 60_000}

CONNECT: Mapping[str, Any] = {
    "connect_timeout": 10,  # seconds
    # A server that vanished without a word is noticed within a minute, not after the system's two hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "options": " ".join(f"-c {name}={value}" for name, value in LIMITS.items()),
}

READING: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""Execution options of a transaction that reads: it sees one moment, as on SQLite, and waits for nobody."""

UNREACHABLE = (
    "The database server cannot be reached, or does not let us in. See that it runs, and check user, password "
    "and name in PERSONA_CHAT_DATABASE_URL."
)
BUSY = "The database server kept us waiting too long: another program holds a lock. Stop that one and try again."
FULL = "The database server has no room left, or no connection to spare. Make room there and try again."
READ_ONLY = "The database server only lets us read. Check that it is no standby, and what our user may do there."
DAMAGED = "The database server says that its data is damaged. Look at its log, and restore a backup."

# By SQLSTATE, the longest that fits: https://www.postgresql.org/docs/15/errcodes-appendix.html
MEANINGS = {
    "55P03": BUSY,  # lock_not_available
    "57014": BUSY,  # query_canceled
    "40P01": BUSY,  # deadlock_detected
    "53": FULL,  # insufficient_resources
    "25006": READ_ONLY,  # read_only_sql_transaction
    "42501": READ_ONLY,  # insufficient_privilege
    "XX001": DAMAGED,  # data_corrupted
    "XX002": DAMAGED,  # index_corrupted
}


def take_turns(connection: Connection) -> None:
    """Begin a transaction that writes by waiting until no other one does, in whichever process.

    What a verb reads is then still so when it writes, as on SQLite, and none has to be done again because of
    another. It ends with the transaction, also where the process dies.
    """
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def trouble(error: BaseException) -> str | None:
    """Say what a person can mend; None where the error is ours."""
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None) or ""
    meaning = MEANINGS.get(state) or MEANINGS.get(state[:2])
    if meaning is None and (isinstance(error, OperationalError) or error.connection_invalidated):
        return UNREACHABLE
    return meaning

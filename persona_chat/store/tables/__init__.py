"""The tables, as migrations/ makes them; a test compares the two. No row leaves the store."""

from persona_chat.store.tables.columns import SURROGATE, Base, UtcDateTime
from persona_chat.store.tables.personas import Guests, Personas, Revisions, Seats
from persona_chat.store.tables.retraining import JOB_STATES, Jobs, Services
from persona_chat.store.tables.servers import FilterWords, Listed, Reports, Servers
from persona_chat.store.tables.talk import (
    ANSWERED,
    CLAIMED,
    DELETED,
    JOINED,
    KNOWN,
    REFUSED,
    Channels,
    Feedback,
    Marks,
    Memories,
    Messages,
    People,
    Replies,
    SentParts,
)

__all__ = [
    "ANSWERED",
    "CLAIMED",
    "DELETED",
    "JOB_STATES",
    "JOINED",
    "KNOWN",
    "REFUSED",
    "SURROGATE",
    "Base",
    "Channels",
    "Feedback",
    "FilterWords",
    "Guests",
    "Jobs",
    "Listed",
    "Marks",
    "Memories",
    "Messages",
    "People",
    "Personas",
    "Replies",
    "Reports",
    "Revisions",
    "Seats",
    "SentParts",
    "Servers",
    "Services",
    "UtcDateTime",
]

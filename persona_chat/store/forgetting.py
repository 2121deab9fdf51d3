"""Lets go of words: the statements behind `People`, in short transactions. What is gone cannot be had back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, cast, delete, exists, func, select, update

from persona_chat.place import Scope
from persona_chat.store.library import Begin
from persona_chat.store.tables import (
    DELETED,
    KNOWN,
    Channels,
    Feedback,
    FilterWords,
    Guests,
    Jobs,
    Listed,
    Marks,
    Memories,
    Messages,
    Personas,
    Replies,
    Reports,
    Revisions,
    Seats,
    SentParts,
    Servers,
    Services,
)

BATCH = 100
"""Messages that are let go of in one transaction: 5 to 20 ms, so that nobody waits long for the lock."""

NOBODY = 0
"""Stands for a person who was forgotten: no id of Discord."""

CHOSEN_BY = "% by {}"
"""How `services.why` ends where a person chose an adapter."""


@dataclass
class Words:
    """What was let go of so far."""

    messages: int = 0
    replies: int = 0
    unanswered: int = 0
    channels: set[int] = field(default_factory=set)


def said_before(moment: datetime) -> ColumnElement[bool]:
    """The messages of before then whose speaker is still known."""
    return and_(Messages.claimed_at < moment, KNOWN)


def said_in(channels: Iterable[int]) -> ColumnElement[bool]:
    """The messages of these channels whose speaker is still known."""
    return and_(Messages.channel_id.in_(tuple(channels)), KNOWN)


def some(writing: Begin, which: ColumnElement[bool], words: Words) -> bool:
    """Let go of a batch of these messages and of all that was answered; whether there was one. Their ids stay."""
    # Whether there were words, not which: they go without their key too.
    said_it, answered_it = (Messages.text != "").label("said"), (Replies.text != "").label("said")
    query = select(Messages.id, Messages.channel_id, said_it).where(which).limit(BATCH)
    with writing() as connection:
        rows = connection.execute(query).all()
        ids = [row.id for row in rows]
        answers = connection.execute(select(Replies.id, answered_it).where(Replies.message_id.in_(ids))).all()
        connection.execute(delete(SentParts).where(SentParts.reply_id.in_([answer.id for answer in answers])))
        connection.execute(delete(Replies).where(Replies.message_id.in_(ids)))
        nothing = {"state": DELETED, "speaker_id": NOBODY, "speaker_name": "", "text": "", "parts": None}
        connection.execute(update(Messages).where(Messages.id.in_(ids)).values(nothing))
    said = [row.channel_id for row in rows if row.said]
    words.messages += len(said)
    words.unanswered += len(rows) - len(said)
    words.channels.update(said)
    words.replies += sum(bool(answer.said) for answer in answers)
    return bool(rows)


def persona(connection: Connection, persona_id: int) -> None:
    """Let go of a persona, wherever it talks. Words that answered other people stay as empty ones."""
    for table in (Seats, Guests, Memories):
        connection.execute(delete(table).where(table.persona_id == persona_id))
    theirs = Revisions.persona_id == persona_id
    connection.execute(delete(Revisions).where(theirs, ~exists().where(Replies.revision_id == Revisions.id)))
    nothing: dict[str, Any] = {"name": "", "about": "", "facts": [], "greeting": "", "avatar_url": "", "by": None}
    left = connection.execute(update(Revisions).where(theirs).values(nothing)).rowcount
    if not left:
        connection.execute(delete(Personas).where(Personas.id == persona_id))
        return
    # Without a current revision it is not found, and cannot be restored.
    gone = {"home_id": NOBODY, "key": "", "current": 0, "by": None, "deleted_at": datetime.now(UTC)}
    connection.execute(update(Personas).where(Personas.id == persona_id).values(gone))


def places(connection: Connection, channels: Iterable[int]) -> None:
    """Let go of what was set in these channels and threads, and of what personas remember of them."""
    ids = tuple(channels)
    for table in (Seats, Guests):
        there = table.scope.in_((Scope.CHANNEL, Scope.THREAD)), table.spot_id.in_(ids)
        connection.execute(delete(table).where(*there))
    connection.execute(delete(Channels).where(Channels.id.in_(ids)))
    for one in (Memories, Marks):
        connection.execute(delete(one).where(one.channel_id.in_(ids)))


def server(connection: Connection, server_id: int) -> None:
    """Let go of a server's personas, of what its managers set, and of what was reported to them."""
    own = select(Personas.id).where(Personas.home == Scope.SERVER, Personas.home_id == server_id)
    for persona_id in connection.scalars(own).all():
        persona(connection, persona_id)
    connection.execute(delete(Seats).where(Seats.scope == Scope.SERVER, Seats.spot_id == server_id))
    connection.execute(delete(Servers).where(Servers.id == server_id))
    for table in (Listed, FilterWords, Reports):
        connection.execute(delete(table).where(table.server_id == server_id))


def written_by(person_id: int) -> ColumnElement[bool]:
    """The versions of answers that this person wrote in a persona's place."""
    writer = cast(Replies.how["edited_by"].as_string(), BigInteger)  # `as_integer` is too small for Discord's ids
    return writer == person_id


def edits(connection: Connection, reply_ids: Sequence[int]) -> None:
    """Let go of these versions of answers; where one was shown, the newest that is left is again."""
    message_ids = connection.scalars(select(Replies.message_id).where(Replies.id.in_(reply_ids))).all()
    connection.execute(delete(SentParts).where(SentParts.reply_id.in_(reply_ids)))
    connection.execute(delete(Replies).where(Replies.id.in_(reply_ids)))
    there = exists().where(Replies.message_id == Messages.id, Replies.number == Messages.shown)
    newest = select(func.max(Replies.number)).where(Replies.message_id == Messages.id).scalar_subquery()
    lost = update(Messages).where(Messages.id.in_(message_ids), ~there)
    connection.execute(lost.values(shown=func.coalesce(newest, Messages.shown)))


def feedback(writing: Begin, person_id: int) -> int:
    """Let go of what a person thinks of replies, in batches; return of how many versions that was."""
    some_of_it = select(Feedback.id).where(Feedback.person_id == person_id).limit(BATCH)
    total = 0
    while True:
        with writing() as connection:
            count = connection.execute(delete(Feedback).where(Feedback.id.in_(some_of_it))).rowcount
        if not count:
            return total
        total += count


def reports(connection: Connection, person_id: int) -> int:
    """Let go of what a person told moderators, done with or not; return how many there were."""
    return connection.execute(delete(Reports).where(Reports.reporter_id == person_id)).rowcount


def memories(connection: Connection, person_id: int, channels: Iterable[int]) -> int:
    """Let go of notes that a person changed, or that tell of a talk with that person; return how many there were."""
    which = (Memories.by == person_id) | Memories.channel_id.in_(tuple(channels))
    return connection.execute(delete(Memories).where(which)).rowcount


def marks(connection: Connection, person_id: int) -> int:
    """Let go of whom a person chose, and of their id wherever it says who did something; return how many there were.

    What they wrote for a server's personas is the server's, and stays.
    """
    count = connection.execute(delete(Seats).where(Seats.scope == Scope.ME, Seats.spot_id == person_id)).rowcount
    for table in (Personas, Revisions, Seats, Guests):
        count += connection.execute(update(table).where(table.by == person_id).values(by=None)).rowcount
    count += connection.execute(update(Reports).where(Reports.done_by == person_id).values(done_by=None)).rowcount
    # Whoever asked for a retraining that is under way is told how it goes.
    asked = update(Jobs).where(Jobs.requested_by == person_id, Jobs.slot.is_(None))
    count += connection.execute(asked.values(requested_by=None)).rowcount
    chosen = update(Services).where(Services.why.like(CHOSEN_BY.format(person_id)))
    return count + connection.execute(chosen.values(why="chosen")).rowcount

"""What was said and answered already, and how that is changed: all SQL about it as verbs of `Answers`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CompoundSelect, Connection, Select, Update, delete, func, select, union_all, update

from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.store.library import WORDS, Begin, persona_of
from persona_chat.store.statements import Statements
from persona_chat.store.tables import ANSWERED, CLAIMED, DELETED, Feedback, Messages, Replies, Revisions, SentParts

NEWEST = 2**62
"""Larger than every `messages.id`."""


@dataclass(frozen=True)
class Version:
    """One answer: the persona's words that gave it, the adapter, and what it was made with."""

    number: int
    text: str
    persona: Persona
    revision: int
    revision_id: int
    adapter: str | None
    how: Mapping[str, Any] | None
    made_at: datetime


@dataclass(frozen=True)
class Part:
    """One of the messages that were answered together, by Discord's id."""

    message_id: int
    text: str


@dataclass(frozen=True)
class Answer:
    """A message and its answer, in versions; `shown` is the number of the one in Discord. Ids are Discord's.

    `persona_id` is the persona's of the version that is shown; `newest` says that nothing was answered in its channel
    since. `parts` are the messages that were answered, mostly one; `asked` is all that they say.
    """

    message_id: int
    channel_id: int
    asker_id: int
    asker_name: str
    asked: str
    persona_id: int
    shown: int
    versions: tuple[Version, ...]
    sent: tuple[int, ...]
    newest: bool
    parts: tuple[Part, ...]

    @property
    def version(self) -> Version:
        """The version that is shown."""
        return next(version for version in self.versions if version.number == self.shown)


class Answers:
    """The answered messages in a database."""

    def __init__(self, reading: Begin, writing: Begin, insert: Callable[..., Any], statements: Statements) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert
        self._statements = statements

    def find(self, message_id: int) -> Answer | None:
        """Return the answer to a message, by Discord's id of it or of one that the answer was sent as."""
        with self._reading() as connection:
            row = connection.execute(_asked(message_id)).first()
            return None if row is None else _answer(connection, row)

    def before(self, answer: Answer, limit: int) -> Dialogue:
        """Return the newest whole exchanges of that persona before this one, in at most `limit` turns."""
        with self._reading() as connection:
            row_id = connection.execute(
                select(Messages.id).where(Messages.message_id == answer.message_id)
            ).scalar_one()
            return exchanges(connection, self._statements, answer.channel_id, answer.persona_id, limit, row_id)

    def add(
        self, message_id: int, revision_id: int, text: str, adapter: str | None, how: Mapping[str, Any] | None
    ) -> None:
        """Keep another version of an answer, and show that. An answer that is gone meanwhile stays gone."""
        with self._writing() as connection:
            row = connection.execute(_asked(message_id)).first()
            if row is None:
                return
            newest = select(func.max(Replies.number)).where(Replies.message_id == row.id)
            number = connection.execute(newest).scalar_one() + 1
            connection.execute(
                self._insert(Replies).values(
                    message_id=row.id,
                    revision_id=revision_id,
                    text=text,
                    adapter=adapter,
                    how=how,
                    number=number,
                    created_at=datetime.now(UTC),
                )
            )
            connection.execute(update(Messages).where(Messages.id == row.id).values(shown=number))

    def show(self, message_id: int, number: int) -> None:
        """Show, and so remember, another version."""
        with self._writing() as connection:
            shown = update(Messages).where(Messages.message_id == message_id, Messages.state == ANSWERED)
            connection.execute(shown.values(shown=number))

    def revision_of(self, persona_id: int) -> int | None:
        """Return the id of the words that a persona has now; None when it was deleted."""
        with self._reading() as connection:
            return connection.scalar(self._statements.revision, {"persona_id": persona_id})

    def rephrase(self, message_id: int, text: str) -> None:
        """Keep what a message says now, which is or will be answered."""
        with self._writing() as connection:
            row = connection.execute(_kept(message_id)).first()
            if row is not None:
                parts = [Part(part.message_id, text) if part.message_id == message_id else part for part in _parts(row)]
                connection.execute(_said(row.id, parts))

    def unsend(self, sent: Sequence[int]) -> None:
        """Note that these of Discord's messages are no parts of answers any more."""
        with self._writing() as connection:
            connection.execute(delete(SentParts).where(SentParts.sent_id.in_(sent)))

    def ours(self, message_ids: Sequence[int]) -> tuple[int, ...]:
        """Return which of these we know: most of what is deleted in channels is somebody else's."""
        with self._reading() as connection:
            return tuple(one for one in message_ids if connection.scalar(_about(one).limit(1)) is not None)

    def delete(self, message_ids: Sequence[int]) -> tuple[Answer, ...]:
        """Let go of answered messages and their answers: no word of them stays. Return what they were.

        Both are named by Discord's ids, those of a message or those that its answer was sent as. Of several messages
        that were answered together the others stay, and so does the answer.
        """
        gone = []
        ours = self.ours(message_ids)
        if not ours:
            return ()
        with self._writing() as connection:
            for message_id in ours:
                if _leave_out(connection, message_id):
                    continue
                row = connection.execute(_asked(message_id)).first()
                if row is None:
                    continue
                gone.append(_answer(connection, row))
                versions = select(Replies.id).where(Replies.message_id == row.id)
                connection.execute(delete(Feedback).where(Feedback.reply_id.in_(versions)))
                wiped = update(Messages).where(Messages.id == row.id)
                connection.execute(wiped.values(state=DELETED, text="", speaker_name="", parts=None))
                connection.execute(update(Replies).where(Replies.message_id == row.id).values(text="", how=None))
        return tuple(gone)


def exchanges(
    connection: Connection,
    statements: Statements,
    channel_id: int,
    persona_id: int,
    limit: int,
    before: int = NEWEST,
) -> Dialogue:
    """Return the newest whole exchanges of a persona in a channel in at most `limit` turns, oldest first."""
    asked = {"channel_id": channel_id, "persona_id": persona_id, "exchanges": limit // 2, "before": before}
    rows = connection.execute(statements.exchanges, asked).all()
    return tuple(
        turn
        for speaker_name, text, reply in reversed(rows)
        for turn in (Turn(Speaker.A, text, speaker_name), Turn(Speaker.B, reply))
    )


def parts_of(said: Sequence[Heard]) -> list[dict[str, Any]] | None:
    """Return messages that are answered together as they are kept; a single one is only its row."""
    return _as_kept([Part(one.message_id, one.text) for one in said])


def _as_kept(parts: Sequence[Part]) -> list[dict[str, Any]] | None:
    return [asdict(part) for part in parts] if len(parts) > 1 else None


def _parts(row: Any) -> tuple[Part, ...]:
    return tuple(Part(**part) for part in row.parts) if row.parts else (Part(row.message_id, row.text),)


def _said(row_id: int, parts: Sequence[Part]) -> Update:
    """Let the row say what these messages say together, also when only one is left of them."""
    text = " ".join(part.text for part in parts)
    return update(Messages).where(Messages.id == row_id).values(text=text, parts=[asdict(part) for part in parts])


def _leave_out(connection: Connection, message_id: int) -> bool:
    """Let go of one of several messages that were answered together; whether it was that."""
    row = connection.execute(_kept(message_id)).first()
    parts = () if row is None else _parts(row)
    left = [part for part in parts if part.message_id != message_id]
    if row is None or not left or len(left) == len(parts):
        return False
    connection.execute(_said(row.id, left))
    return True


def _said_as(message_id: int) -> tuple[Select[Any], Select[Any]]:
    """The row of the message, and the one that answers for it, where another one does."""
    of = Messages.message_id == message_id
    return select(Messages.id).where(of), select(Messages.joined_to).where(of, Messages.joined_to.is_not(None))


def _about(message_id: int) -> CompoundSelect[Any]:
    """The rows that a message has to do with: its own, the one it is joined to, the one whose answer it is.

    As a union, because PostgreSQL reads every row where these are alternatives of one condition.
    """
    sent = (
        select(Replies.message_id)
        .join(SentParts, SentParts.reply_id == Replies.id)
        .where(SentParts.sent_id == message_id)
    )
    return union_all(*_said_as(message_id), sent)


def _kept(message_id: int) -> Select[Any]:
    """The row that holds the words of a message which is or will be answered."""
    columns: tuple[Any, ...] = (Messages.id, Messages.message_id, Messages.text, Messages.parts)
    of = Messages.id.in_(union_all(*_said_as(message_id)))
    return select(*columns).where(of, Messages.state.in_((CLAIMED, ANSWERED)))


def _asked(message_id: int) -> Select[Any]:
    """The answered message of that id, the one it is joined to, or the one whose answer was sent as it."""
    columns: tuple[Any, ...] = (Messages,)
    return select(*columns).where(Messages.id.in_(_about(message_id)), Messages.state == ANSWERED)


def _answer(connection: Connection, asked: Any) -> Answer:
    columns: tuple[Any, ...] = (
        Replies.number,
        Replies.text,
        Replies.adapter,
        Replies.how,
        Replies.created_at,
        Replies.revision_id,
        Revisions.persona_id,
        Revisions.number.label("revision"),
        *WORDS,
    )
    query = (
        select(*columns)
        .join(Revisions, Revisions.id == Replies.revision_id)
        .where(Replies.message_id == asked.id)
        .order_by(Replies.number)
    )
    rows = connection.execute(query).all()
    sent = (
        select(SentParts.sent_id)
        .join(Replies, Replies.id == SentParts.reply_id)
        .where(Replies.message_id == asked.id)
        .order_by(SentParts.part)
    )
    newest = select(func.max(Messages.id)).where(Messages.channel_id == asked.channel_id, Messages.state == ANSWERED)
    return Answer(
        message_id=asked.message_id,
        channel_id=asked.channel_id,
        asker_id=asked.speaker_id,
        asker_name=asked.speaker_name,
        asked=asked.text,
        persona_id=next(row.persona_id for row in rows if row.number == asked.shown),
        shown=asked.shown,
        versions=tuple(
            Version(
                row.number,
                row.text,
                persona_of(row),
                row.revision,
                row.revision_id,
                row.adapter,
                row.how,
                row.created_at,
            )
            for row in rows
        ),
        sent=tuple(connection.scalars(sent)),
        newest=connection.scalar(newest) == asked.id,
        parts=_parts(asked),
    )

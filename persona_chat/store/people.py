"""What is kept of people, and how it is let go of: all SQL about it as verbs of `People`."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select

from persona_chat.place import Scope
from persona_chat.store import forgetting
from persona_chat.store.holdings import Answered, Edit, Given, Held, Owned, Said, Seat
from persona_chat.store.library import Begin, Revision, persona_of
from persona_chat.store.tables import Feedback, Memories, Messages, Personas, Replies, Reports, Revisions, Seats
from persona_chat.store.tables import People as Rows

BATCHES = 20
"""Batches of messages that are too old in one call."""


class People:
    """The people in a database. `scrub` is `database.scrub` for it."""

    def __init__(
        self, reading: Begin, writing: Begin, insert: Callable[..., Any], scrub: Callable[[bool], bool]
    ) -> None:
        self._reading, self._writing = reading, writing
        self._insert = insert
        self._scrub = scrub

    def opted_out(self) -> frozenset[int]:
        """Return the ids of everybody who opted out."""
        with self._reading() as connection:
            return frozenset(connection.scalars(select(Rows.id)))

    def opted_out_at(self, person_id: int) -> datetime | None:
        """Return when a person opted out; None when that person did not."""
        with self._reading() as connection:
            return connection.scalar(select(Rows.opted_out_at).where(Rows.id == person_id))

    def opt_out(self, person_id: int) -> None:
        """Note that nothing of this person is to be kept from now on. What is kept already stays."""
        row = self._insert(Rows).values(id=person_id, opted_out_at=datetime.now(UTC))
        with self._writing() as connection:
            connection.execute(row.on_conflict_do_nothing(index_elements=[Rows.id]))

    def opt_in(self, person_id: int) -> None:
        """Undo that."""
        with self._writing() as connection:
            connection.execute(delete(Rows).where(Rows.id == person_id))

    def held(self, person_id: int) -> Held:
        """Return what is kept of a person, in numbers."""
        theirs, kept = Messages.speaker_id == person_id, Messages.text != ""
        counted = select(func.count(), func.count(Messages.channel_id.distinct()), func.min(Messages.claimed_at)).where(
            theirs, kept
        )
        answers = select(func.count()).select_from(Replies).join(Messages).where(theirs, Replies.text != "")
        personas = select(func.count()).where(*_own(person_id))
        edits = select(func.count()).select_from(Replies).where(Replies.id.in_(_edits(person_id)))
        feedback = select(func.count()).where(Feedback.person_id == person_id)
        reports = select(func.count()).where(Reports.reporter_id == person_id)
        memories = select(func.count()).where(Memories.by == person_id)
        with self._reading() as connection:
            messages, channels, oldest = connection.execute(counted).one()
            return Held(
                messages,
                connection.execute(answers).scalar_one(),
                channels,
                connection.execute(select(func.count()).where(theirs, ~kept)).scalar_one(),
                connection.execute(personas).scalar_one(),
                connection.execute(edits).scalar_one(),
                connection.execute(feedback).scalar_one(),
                connection.execute(reports).scalar_one(),
                connection.execute(memories).scalar_one(),
                oldest,
            )

    def said(self, person_id: int, before: int, limit: int) -> tuple[Said, ...]:
        """Return the newest messages of a person with an `id` below `before`, the newest first."""
        columns: tuple[Any, ...] = (Messages,)
        query = (
            select(*columns)
            .where(Messages.speaker_id == person_id, Messages.id < before)
            .order_by(Messages.id.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            rows = connection.execute(query).all()
            answers = _answers(connection, [row.id for row in rows])
        return tuple(
            Said(
                row.id,
                row.message_id,
                row.channel_id,
                row.claimed_at,
                row.state,
                row.speaker_name,
                row.text,
                row.shown,
                tuple(answers.get(row.id, ())),
            )
            for row in rows
        )

    def personas(self, person_id: int) -> tuple[Owned, ...]:
        """Return a person's own personas, deleted ones too, the newest first."""
        columns: tuple[Any, ...] = (Personas,)
        with self._reading() as connection:
            rows = connection.execute(select(*columns).where(*_own(person_id)).order_by(Personas.id.desc())).all()
            return tuple(
                Owned(row.current, row.created_at, row.deleted_at, tuple(_revisions(connection, row.id)))
                for row in rows
            )

    def seat(self, person_id: int) -> Seat | None:
        """Return whom a person chose for wherever they talk."""
        query = (
            select(Revisions.name, Personas.home, Personas.home_id, Seats.updated_at)
            .join(Personas, Personas.id == Seats.persona_id)
            .join(Revisions, (Revisions.persona_id == Personas.id) & (Revisions.number == Personas.current))
            .where(Seats.scope == Scope.ME, Seats.spot_id == person_id)
        )
        with self._reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Seat(row.name, row.home_id if row.home == "server" else None, row.updated_at)

    def forget(self, person_id: int) -> tuple[Held, bool]:
        """Let go of everything of a person but that they opted out; return what it was, and whether no trace is left.

        Ids of messages stay claimed, by nobody. Nothing of theirs may be under way.
        """
        words = forgetting.Words()
        talked_in = select(Messages.channel_id).where(Messages.speaker_id == person_id).distinct()
        with self._reading() as connection:
            channels = connection.scalars(talked_in).all()
            mine = connection.execute(select(func.count()).where(Memories.by == person_id)).scalar_one()
        # Before the messages go, which say where the person talked: cut off in between, it can be done again.
        with self._writing() as connection:
            changed = forgetting.memories(connection, person_id, channels)
        feedback = forgetting.feedback(self._writing, person_id)
        while forgetting.some(self._writing, Messages.speaker_id == person_id, words):
            pass
        with self._reading() as connection:
            own = connection.scalars(select(Personas.id).where(*_own(person_id))).all()
            edits = connection.scalars(_edits(person_id)).all()
        for start in range(0, len(edits), forgetting.BATCH):
            with self._writing() as connection:
                forgetting.edits(connection, edits[start : start + forgetting.BATCH])
        for persona_id in own:
            with self._writing() as connection:
                forgetting.persona(connection, persona_id)
        with self._writing() as connection:
            reports = forgetting.reports(connection, person_id)
            changed += forgetting.marks(connection, person_id)
        of_them = (words.messages, words.replies, len(words.channels), words.unanswered)
        held = Held(*of_them, len(own), len(edits), feedback, reports, mine)
        return held, self.scrub(whole=True) if held or changed else True

    def forget_places(self, channels: Iterable[int], server_id: int | None = None) -> tuple[int, bool]:
        """Let go of all that was said and set in these channels and threads, and with `server_id` in that server.

        Return how many messages that were, and whether the file was written anew. Twice is no error.
        """
        places = set(channels)
        if server_id is not None:
            with self._reading() as connection:
                places.update(connection.scalars(select(Messages.channel_id).where(Messages.server_id == server_id)))
        words = forgetting.Words()
        while forgetting.some(self._writing, forgetting.said_in(places), words):
            pass
        with self._writing() as connection:
            forgetting.places(connection, places)
            if server_id is not None:
                forgetting.server(connection, server_id)
        return words.messages, self.scrub(whole=True)

    def forget_before(self, moment: datetime) -> int:
        """Let go of messages from before then, as by `forget`; return how many. Call it until there are none.

        So are memories that were changed and personas that were deleted before then. It takes a part of a second, so
        that whoever is stopped meanwhile need not wait.
        """
        words = forgetting.Words()
        deleted = select(Personas.id).where(Personas.deleted_at < moment, Personas.current != 0)
        with self._writing() as connection:
            memories = connection.execute(delete(Memories).where(Memories.edited_at < moment)).rowcount
            personas = connection.scalars(deleted.limit(forgetting.BATCH)).all()
            for persona_id in personas:
                forgetting.persona(connection, persona_id)
        for _ in range(BATCHES):
            if not forgetting.some(self._writing, forgetting.said_before(moment), words):
                break
        return words.messages + words.unanswered + memories + len(personas)

    def scrub(self, *, whole: bool) -> bool:
        """Empty an SQLite database's log, and with `whole` write its file anew; whether that was done.

        Until then deleted words can still be found in these files, by somebody who looks at their bytes.
        """
        return self._scrub(whole)

    def edits(self, person_id: int) -> tuple[Edit, ...]:
        """Return the answers to other people that this person wrote in a persona's place, the newest first."""
        columns: tuple[Any, ...] = (Messages.message_id, Messages.channel_id, Replies.text, Replies.created_at)
        query = select(*columns).join(Messages).where(Replies.id.in_(_edits(person_id))).order_by(Replies.id.desc())
        with self._reading() as connection:
            return tuple(Edit(*row) for row in connection.execute(query))

    def feedback(self, person_id: int) -> tuple[Given, ...]:
        """Return what a person thinks of replies, the newest first."""
        columns: tuple[Any, ...] = (
            *(Messages.message_id, Messages.channel_id, Replies.number),
            *(Feedback.verdict, Feedback.suggestion, Feedback.updated_at),
        )
        query = (
            select(*columns)
            .join(Replies, Replies.id == Feedback.reply_id)
            .join(Messages, Messages.id == Replies.message_id)
            .where(Feedback.person_id == person_id)
            .order_by(Feedback.updated_at.desc())
        )
        with self._reading() as connection:
            return tuple(Given(*row) for row in connection.execute(query))


def _own(person_id: int) -> tuple[Any, ...]:
    return Personas.home == Scope.ME, Personas.home_id == person_id


def _edits(person_id: int) -> Select[Any]:
    others = (Replies.message_id == Messages.id) & (Messages.speaker_id != person_id)
    return select(Replies.id).join(Messages, others).where(forgetting.written_by(person_id))


def _answers(connection: Connection, message_rows: list[int]) -> dict[int, list[Answered]]:
    columns: tuple[Any, ...] = (
        Replies.message_id,
        *(Replies.number, Revisions.name, Replies.text, Replies.adapter, Replies.how, Replies.created_at),
    )
    query = (
        select(*columns)
        .join(Revisions, Revisions.id == Replies.revision_id)
        .where(Replies.message_id.in_(message_rows))
        .order_by(Replies.number)
    )
    answers: dict[int, list[Answered]] = {}
    for message_id, *answer in connection.execute(query):
        answers.setdefault(message_id, []).append(Answered(*answer))
    return answers


def _revisions(connection: Connection, persona_id: int) -> list[Revision]:
    columns: tuple[Any, ...] = (Revisions,)
    rows = connection.execute(select(*columns).where(Revisions.persona_id == persona_id).order_by(Revisions.number))
    return [
        Revision(
            row.number,
            persona_of(row),
            row.by,
            row.created_at,
        )
        for row in rows
    ]

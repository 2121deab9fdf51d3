"""Everything that is remembered and asked, as verbs: each one a short transaction, called from any thread.

It speaks in values and in Discord's ids; rows stay here.
"""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from persona_chat.dialogue import Dialogue
from persona_chat.heard import Heard
from persona_chat.place import Place
from persona_chat.store import backup, services
from persona_chat.store.answers import Answers, exchanges, parts_of
from persona_chat.store.database import DATABASE, for_reading, scrub, sqlite_file
from persona_chat.store.feedback import FeedbackStore
from persona_chat.store.guests import GuestBook, guest_in
from persona_chat.store.inbox import Inbox
from persona_chat.store.jobs import Jobs
from persona_chat.store.ledger import KEPT, Ledger, beside
from persona_chat.store.library import Library
from persona_chat.store.manners import MannersStore
from persona_chat.store.memories import Memories
from persona_chat.store.moderation import ModerationStore
from persona_chat.store.people import People
from persona_chat.store.reports import Reports
from persona_chat.store.seating import Seated, Seating
from persona_chat.store.services import Service
from persona_chat.store.statements import Statements
from persona_chat.store.tables import CLAIMED, REFUSED, Messages
from persona_chat.store.transactions import Transactions

log = logging.getLogger(__name__)


class Store:
    """The memory behind a database that `schema.upgrade` has brought up to date.

    Verbs that write are safe to run twice: a cancelled caller cannot know whether the first time counted.
    `jobs` has those about retrainings, `library` those about personas, `seating` those about where they talk, `guests`
    those about who is invited there besides, `inbox` those about what is not over, `answers` those about what was said
    already, `manners` those about how the bot behaves in a channel, `memories` those about what personas remember
    there, `moderation` those about what servers allow, `reports` those about what moderators were told, `feedback`
    those about what people think of replies, and `people` those about what is kept of people. `ledger` is where
    deletions are noted first; without a `data_dir` a store on a server has none. `reading` and `writing` run verbs
    together.
    """

    def __init__(self, engine: Engine, data_dir: Path | None = None) -> None:
        self._engine = engine
        path = sqlite_file(engine.url) or (data_dir and data_dir / DATABASE)
        self.ledger = Ledger(path and beside(path))
        # SQLite before 3.51.3 can lose commits when two connections write at the same moment, and threads that
        # poll for its lock are not served in order.
        self._one_writer = threading.Lock()
        self.reading, self.writing = Transactions(for_reading(engine).begin), Transactions(self._begin_writing)
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._statements = Statements(insert)
        self.jobs = Jobs(self.reading, self.writing)
        self.manners = MannersStore(self.reading, self.writing, insert)
        self.moderation = ModerationStore(self.reading, self.writing, insert)
        self.reports = Reports(self.reading, self.writing)
        self.memories = Memories(self.reading, self.writing, insert)
        self.library = Library(self.reading, self.writing)
        self.inbox = Inbox(self.reading, self.writing, insert)
        self.answers = Answers(self.reading, self.writing, insert, self._statements)
        self.feedback = FeedbackStore(self.reading, self.writing, insert)
        self.people = People(self.reading, self.writing, insert, self._scrub)
        self.seating = Seating(self.reading, self.writing, insert, self._statements, self.library)
        self.guests = GuestBook(self.reading, self.writing, insert)

    def answers_now(self) -> bool:
        """Whether the database can be read."""
        try:
            with self.reading() as connection:
                connection.exec_driver_sql("SELECT 1 FROM personas WHERE 1 = 0")
        except SQLAlchemyError:
            return False
        return True

    def talk(self, place: Place, limit: int, guest_id: int | None = None) -> tuple[Seated | None, Dialogue]:
        """Return who talks in this place to this person, and the newest whole exchanges in at most `limit` turns.

        With `guest_id` that is the guest, and who was set there only where this one has left.

        A persona remembers what it said in the channel itself, oldest first: A, B, A, B, … Other words keep the talk,
        another persona begins its own, and the first one goes on when it returns. Empty where nobody talks.
        """
        with self.reading() as connection:
            guest = guest_in(connection, place, guest_id) if guest_id is not None else None
            seated = guest or self.seating.seated_in(connection, place)
            if seated is None:
                return None, ()
            return seated, exchanges(connection, self._statements, place.channel_id, seated.kept.id, limit)

    def claim(self, heard: Heard, parts: Sequence[Heard] = ()) -> bool:
        """Take a message to answer it. False when its id was taken before: then it is somebody else's.

        With `parts`, oldest first and itself the last, it stands for all of them, whose words are its text.
        """
        given = {
            "message_id": heard.message_id,
            "channel_id": heard.place.channel_id,
            "server_id": heard.place.guild_id,
            "speaker_id": heard.place.person_id,
            "speaker_name": heard.speaker_name,
            "text": heard.text,
            "claimed_at": _now(),
            "parts": parts_of(parts),
        }
        with self.writing() as connection:
            claimed = connection.scalar(self._statements.claim, given)
            if claimed is not None:
                same = {name: given[name] for name in ("channel_id", "server_id", "speaker_id", "claimed_at")}
                for part in parts[:-1]:
                    joined = same | {"message_id": part.message_id, "of": claimed}
                    connection.execute(self._statements.join, joined)
            return claimed is not None

    def save_reply(
        self,
        message_id: int,
        revision_id: int,
        text: str,
        adapter: str | None = None,
        how: Mapping[str, Any] | None = None,
    ) -> None:
        """Save what a persona in these words answers to a claimed message, before it is sent; the first reply stays.

        `how` is what it was made with.

        The revision is given, not looked up: who talks there may have changed while this one was thinking.
        Raises LookupError for a message that was never claimed.
        """
        saved = {
            "asked": message_id,
            "revision_id": revision_id,
            "text": text,
            "adapter": adapter,
            "how": how,
            "created_at": _now(),
        }
        with self.writing() as connection:
            connection.execute(self._statements.save_reply, saved)
            if not connection.execute(self._statements.answered, {"asked": message_id}).rowcount:
                raise LookupError(f"message {message_id} was never claimed")

    def refuse(self, message_id: int, reason: str) -> None:
        """Note why a claimed message gets no reply, in a short code, and keep nothing of what it said.

        An answered one stays answered.
        """
        with self.writing() as connection:
            connection.execute(
                update(Messages)
                .where(Messages.message_id == message_id, Messages.state == CLAIMED)
                .values(state=REFUSED, reason=reason, text="", speaker_name="", parts=None)
            )

    def mark_sent(self, message_id: int, part: int, sent_id: int) -> None:
        """Note that part `part` (from 0) of the reply to `message_id` went out as Discord's message `sent_id`.

        The first note of a part stays. Raises LookupError when no reply was saved.
        """
        sent = {"asked": message_id, "part": part, "sent_id": sent_id}
        with self.writing() as connection:
            if connection.scalar(self._statements.mark_sent, sent) is not None:
                return
            if connection.scalar(self._statements.reply, {"asked": message_id}) is None:
                raise LookupError(f"message {message_id} has no reply")

    def adapter_in_service(self) -> Service | None:
        """Return which adapter was put in service last; None when none ever was chosen."""
        newest = self.services(1)
        return newest[0] if newest else None

    def put_in_service(self, adapter: str | None, why: str) -> None:
        """Move the one pointer to this adapter of the registry, or to the plain base (None); `why` is for people."""
        with self.writing() as connection:
            services.add(connection, adapter, why)

    def put_back(self, refused: str | None, adapter: str | None, why: str) -> None:
        """Move the pointer back to `adapter`, if `refused` is where it points; else somebody chose another since."""
        with self.writing() as connection:
            pointer = services.newest(connection, 1)
            if pointer and pointer[0].adapter == refused:
                services.add(connection, adapter, why)

    def services(self, limit: int) -> tuple[Service, ...]:
        """Return the last `limit` moves of the pointer, the newest first."""
        with self.reading() as connection:
            return services.newest(connection, limit)

    def backups(self) -> int:
        """Return how many backups of earlier upgrades there are."""
        path = sqlite_file(self._engine.url)
        return 0 if path is None else len(backup.made_of(path))

    def delete_backups(self, before: datetime) -> int:
        """Delete the backups that were made before then; return how many that were."""
        path = sqlite_file(self._engine.url)
        old = [] if path is None else [copy for copy, made_at in backup.made_of(path).items() if made_at < before]
        for copy in old:
            copy.unlink(missing_ok=True)
        return len(old)

    def prune_ledger(self) -> int:
        """Let go of notes of deletions that are older than `KEPT` and than the oldest backup; return how many.

        Call it while nobody deletes anything. On a full disk they stay.
        """
        path, now = sqlite_file(self._engine.url), _now()
        oldest = min(backup.made_of(path).values(), default=now) if path is not None else now
        try:
            return self.ledger.prune(min(now - KEPT, oldest))
        except OSError as error:
            log.warning("old notes of deletions stay: %s", error.strerror)
            return 0

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _scrub(self, whole: bool) -> bool:
        with self._one_writer:
            return scrub(self._engine, whole=whole)

    @contextmanager
    def _begin_writing(self) -> Iterator[Connection]:
        with self._one_writer, self._engine.begin() as connection:
            yield connection


def _now() -> datetime:
    return datetime.now(UTC)

"""Everything that is remembered and asked, as verbs: each one a short transaction, called from any thread.

It speaks in values and in Discord's ids; rows stay here.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from persona_chat.dialogue import Speaker, Turn
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.store import services
from persona_chat.store.database import for_reading
from persona_chat.store.jobs import Jobs
from persona_chat.store.services import Service
from persona_chat.store.statements import Statements
from persona_chat.store.tables import CLAIMED, REFUSED, Channels, Messages, Personas


class Store:
    """The memory behind a database that `schema.upgrade` has brought up to date.

    Verbs that write are safe to run twice: a cancelled caller cannot know whether the first time counted.
    `jobs` has those about retrainings.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = for_reading(engine)
        # SQLite before 3.51.3 can lose commits when two connections write at the same moment, and threads that
        # poll for its lock are not served in order.
        self._one_writer = threading.Lock()
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        self._statements = Statements(self._insert)
        self.jobs = Jobs(self._reading.begin, self._writing)

    def channels_on(self) -> set[int]:
        """Return the ids of the channels that have a persona."""
        with self._reading.begin() as connection:
            return set(connection.scalars(select(Channels.id).where(Channels.persona_id.is_not(None))))

    def persona(self, channel_id: int) -> Persona | None:
        """Return the channel's persona; None where the bot is off."""
        with self._reading.begin() as connection:
            return self._persona(connection, channel_id)

    def talk(self, channel_id: int, limit: int) -> tuple[Persona | None, tuple[Turn, ...]]:
        """Return the channel's persona, and its `history`, as they are at one moment."""
        with self._reading.begin() as connection:
            return self._persona(connection, channel_id), self._history(connection, channel_id, limit)

    def set_persona(self, channel_id: int, persona: Persona, guild_id: int | None = None) -> Persona | None:
        """Give the channel this persona, which turns it on; return the one it had. No `guild_id` keeps the known."""
        with self._writing() as connection:
            before = self._persona(connection, channel_id)
            if before != persona:
                self._put_channel(connection, channel_id, self._revision(connection, persona), guild_id)
            return before

    def clear_persona(self, channel_id: int) -> Persona | None:
        """Turn the channel off; return the persona it had. What was said stays, for when that one returns."""
        with self._writing() as connection:
            before = self._persona(connection, channel_id)
            connection.execute(
                update(Channels)
                .where(Channels.id == channel_id, Channels.persona_id.is_not(None))
                .values(persona_id=None, updated_at=_now())
            )
            return before

    def claim(self, heard: Heard) -> bool:
        """Take a message to answer it. False when its id was taken before: then it is somebody else's."""
        given = {
            "message_id": heard.message_id,
            "channel_id": heard.channel_id,
            "speaker_id": heard.speaker_id,
            "speaker_name": heard.speaker_name,
            "text": heard.text,
            "claimed_at": _now(),
        }
        with self._writing() as connection:
            return connection.scalar(self._statements.claim, given) is not None

    def history(self, channel_id: int, limit: int) -> tuple[Turn, ...]:
        """Return the newest whole exchanges in at most `limit` turns, oldest first: A, B, A, B, …

        A persona remembers what it said itself: only answers count that were given under the name of the
        channel's persona of now. Editing its facts keeps the talk, another persona begins its own, and the
        first one goes on when it returns. Empty where the bot is off.
        """
        with self._reading.begin() as connection:
            return self._history(connection, channel_id, limit)

    def save_reply(self, message_id: int, persona: Persona, text: str, adapter: str | None = None) -> None:
        """Save what `persona` answers to a claimed message, before it is sent; the first reply stays.

        The persona is given, not looked up: the channel's may have changed while this one was thinking.
        Raises LookupError for a message that was never claimed.
        """
        with self._writing() as connection:
            message = connection.scalar(self._statements.message, {"message_id": message_id})
            if message is None:
                raise LookupError(f"message {message_id} was never claimed")
            saved = {
                "message_id": message,
                "persona_id": self._revision(connection, persona),
                "text": text,
                "adapter": adapter,
                "created_at": _now(),
            }
            connection.execute(self._statements.save_reply, saved)
            connection.execute(self._statements.answered, {"of": message})

    def refuse(self, message_id: int, reason: str) -> None:
        """Note why a claimed message gets no reply, in a short code, and keep nothing of what it said.

        An answered one stays answered.
        """
        with self._writing() as connection:
            connection.execute(
                update(Messages)
                .where(Messages.message_id == message_id, Messages.state == CLAIMED)
                .values(state=REFUSED, reason=reason, text="", speaker_name="")
            )

    def mark_sent(self, message_id: int, part: int, sent_id: int) -> None:
        """Note that part `part` (from 0) of the reply to `message_id` went out as Discord's message `sent_id`.

        The first note of a part stays. Raises LookupError when no reply was saved.
        """
        with self._writing() as connection:
            reply = connection.scalar(self._statements.reply, {"message_id": message_id})
            if reply is None:
                raise LookupError(f"message {message_id} has no reply")
            connection.execute(self._statements.mark_sent, {"reply_id": reply, "part": part, "sent_id": sent_id})

    def adapter_in_service(self) -> Service | None:
        """Return which adapter was put in service last; None when none ever was chosen."""
        newest = self.services(1)
        return newest[0] if newest else None

    def put_in_service(self, adapter: str | None, why: str) -> None:
        """Move the one pointer to this adapter of the registry, or to the plain base (None); `why` is for people."""
        with self._writing() as connection:
            services.add(connection, adapter, why)

    def put_back(self, refused: str | None, adapter: str | None, why: str) -> None:
        """Move the pointer back to `adapter`, if `refused` is where it points; else somebody chose another since."""
        with self._writing() as connection:
            pointer = services.newest(connection, 1)
            if pointer and pointer[0].adapter == refused:
                services.add(connection, adapter, why)

    def services(self, limit: int) -> tuple[Service, ...]:
        """Return the last `limit` moves of the pointer, the newest first."""
        with self._reading.begin() as connection:
            return services.newest(connection, limit)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._one_writer, self._engine.begin() as connection:
            yield connection

    def _persona(self, connection: Connection, channel_id: int) -> Persona | None:
        row = connection.execute(self._statements.persona, {"channel_id": channel_id}).one_or_none()
        return None if row is None else Persona(row.name, row.about, tuple(row.facts))

    def _history(self, connection: Connection, channel_id: int, limit: int) -> tuple[Turn, ...]:
        rows = connection.execute(self._statements.exchanges, {"channel_id": channel_id, "exchanges": limit // 2})
        return tuple(
            turn
            for speaker_name, text, reply in reversed(rows.all())
            for turn in (Turn(Speaker.A, text, speaker_name), Turn(Speaker.B, reply))
        )

    def _put_channel(self, connection: Connection, channel_id: int, persona_id: int, guild_id: int | None) -> None:
        row = self._insert(Channels).values(id=channel_id, guild_id=guild_id, persona_id=persona_id, updated_at=_now())
        new = row.excluded
        connection.execute(
            row.on_conflict_do_update(
                index_elements=[Channels.id],
                set_={
                    "guild_id": func.coalesce(new.guild_id, Channels.guild_id),
                    "persona_id": new.persona_id,
                    "updated_at": new.updated_at,
                },
            )
        )

    def _revision(self, connection: Connection, persona: Persona) -> int:
        """Return the id of the persona in exactly these words, which gets a row when it has none."""
        named = {"name": persona.name, "about": persona.about}
        for row in connection.execute(self._statements.alike, named):
            if tuple(row.facts) == persona.facts:
                return int(row.id)
        made = self._insert(Personas).values(
            name=persona.name, about=persona.about, facts=list(persona.facts), created_at=_now()
        )
        return connection.execute(made.returning(Personas.id)).scalar_one()


def _now() -> datetime:
    return datetime.now(UTC)

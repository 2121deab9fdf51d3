"""All SQL, as verbs. It speaks in values; each verb is one short transaction. Synchronous: call it in a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from persona_chat.dialogue import Dialogue, Speaker, Turn
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.store.tables import ChannelRow, MessageRow, PersonaRow, ReplyRow, SentPartRow


class Store:
    """What the bot remembers. Every verb may be called again with the same values and changes nothing then."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Looked up once: `insert … on conflict` is spelled the same on both, but is not in the common SQL.
        self._insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def channels_on(self) -> set[int]:
        """Return the ids of the channels that have a persona."""
        with self._reading() as session:
            return set(session.scalars(select(ChannelRow.id).where(ChannelRow.persona_id.is_not(None))))

    def persona(self, channel_id: int) -> Persona | None:
        """Return the channel's persona; None when it is off."""
        with self._reading() as session:
            row = self._current(session, channel_id)
            return None if row is None else _value(row)

    def set_persona(self, channel_id: int, persona: Persona, guild_id: int | None = None) -> Persona | None:
        """Give the channel this persona, as a new revision unless it has it already; return the one before."""
        with self._writing() as session:
            current = self._current(session, channel_id)
            before = None if current is None else _value(current)
            if before == persona:
                return before
            row = _row(persona)
            session.add(row)
            session.flush()
            values = {"persona_id": row.id, "guild_id": guild_id, "updated_at": _now()}
            statement = self._insert(ChannelRow).values(id=channel_id, **values)
            session.execute(statement.on_conflict_do_update(index_elements=[ChannelRow.id], set_=values))
            return before

    def clear_persona(self, channel_id: int) -> Persona | None:
        """Turn the channel off; return the persona it had. What was said stays."""
        with self._writing() as session:
            row = self._current(session, channel_id)
            off = update(ChannelRow).where(ChannelRow.id == channel_id).values(persona_id=None, updated_at=_now())
            session.execute(off)
            return None if row is None else _value(row)

    def claim(self, heard: Heard) -> bool:
        """Take a message to answer it; False when that was done before, by whomever."""
        with self._writing() as session:
            statement = self._insert(MessageRow).values(
                message_id=heard.message_id,
                channel_id=heard.channel_id,
                speaker_id=heard.speaker_id,
                speaker_name=heard.speaker_name,
                text=heard.text,
                state="claimed",
                claimed_at=_now(),
            )
            once = statement.on_conflict_do_nothing(index_elements=[MessageRow.message_id]).returning(MessageRow.id)
            return session.scalar(once) is not None

    def history(self, channel_id: int, limit: int) -> Dialogue:
        """Return the newest turns, at most `limit`, oldest first: messages with their replies.

        A persona remembers what it said itself: only replies of personas with the name of the channel's
        current one count, whatever their other revisions say.
        """
        replied = aliased(PersonaRow)
        with self._reading() as session:
            current = self._current(session, channel_id)
            if current is None:
                return ()
            pairs = session.execute(
                select(MessageRow.speaker_name, MessageRow.text, ReplyRow.text)
                .join(ReplyRow, ReplyRow.message_id == MessageRow.id)
                .join(replied, replied.id == ReplyRow.persona_id)
                .where(MessageRow.channel_id == channel_id, replied.name == current.name)
                .order_by(MessageRow.id.desc())
                .limit(limit // 2)
            ).all()
        return tuple(
            turn
            for name, said, reply in reversed(pairs)
            for turn in (Turn(Speaker.A, said, name), Turn(Speaker.B, reply))
        )

    def save_reply(self, message_id: int, persona: Persona, text: str, adapter: str | None = None) -> None:
        """Keep the reply to a claimed message, before it is sent."""
        with self._writing() as session:
            message = session.scalars(select(MessageRow).where(MessageRow.message_id == message_id)).one()
            if message.state == "answered":
                return
            values = {
                "message_id": message.id,
                "persona_id": self._revision(session, message.channel_id, persona),
                "text": text,
                "adapter": adapter,
                "created_at": _now(),
            }
            session.execute(insert(ReplyRow).values(values))
            message.state = "answered"

    def refuse(self, message_id: int, reason: str) -> None:
        """Note that a claimed message gets no reply, and why, in one word."""
        with self._writing() as session:
            session.execute(
                update(MessageRow)
                .where(MessageRow.message_id == message_id, MessageRow.state == "claimed")
                .values(state="refused", reason=reason)
            )

    def mark_sent(self, message_id: int, part: int, sent_id: int) -> None:
        """Note the Discord message in which a part of the reply was sent; parts count from 0."""
        with self._writing() as session:
            reply_id = session.scalars(
                select(ReplyRow.id).join(MessageRow, MessageRow.id == ReplyRow.message_id).where(
                    MessageRow.message_id == message_id
                )
            ).one()
            statement = self._insert(SentPartRow).values(reply_id=reply_id, part=part, sent_id=sent_id)
            session.execute(statement.on_conflict_do_nothing(index_elements=[SentPartRow.reply_id, SentPartRow.part]))

    def _current(self, session: Session, channel_id: int) -> PersonaRow | None:
        return session.scalar(
            select(PersonaRow).join(ChannelRow, ChannelRow.persona_id == PersonaRow.id).where(
                ChannelRow.id == channel_id
            )
        )

    def _revision(self, session: Session, channel_id: int, persona: Persona) -> int:
        """The row of the persona that replied: the channel's, or its own if that was changed in the meantime."""
        current = self._current(session, channel_id)
        if current is not None and _value(current) == persona:
            return current.id
        row = _row(persona)
        session.add(row)
        session.flush()
        return row.id

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        """A reader does not wait for the one writer."""
        with Session(self._engine.execution_options(read_only=True)) as session:
            yield session


def _row(persona: Persona) -> PersonaRow:
    return PersonaRow(name=persona.name, about=persona.about, facts=list(persona.facts), created_at=_now())


def _value(row: PersonaRow) -> Persona:
    return Persona(row.name, row.about, tuple(row.facts))


def _now() -> datetime:
    return datetime.now(UTC)



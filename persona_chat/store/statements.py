"""The statements of a message's path, made once: making one anew takes SQLAlchemy as long as the database takes for it.

They are about tables, not mapped classes, which would cost as much again.
"""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Table, bindparam, select, update

from persona_chat.store.tables import ANSWERED, CLAIMED, Channels, Messages, Personas, Replies, SentParts

channels, messages, personas, replies, sent_parts = (
    cast("Table", mapped.__table__) for mapped in (Channels, Messages, Personas, Replies, SentParts)
)


class Statements:
    """Statements for one dialect; `insert` is its own. The names of parameters are those of columns, unless said."""

    def __init__(self, insert: Callable[..., Any]) -> None:
        self.claim = (
            insert(messages)
            .values(
                {
                    name: bindparam(name)
                    for name in ("message_id", "channel_id", "speaker_id", "speaker_name", "text", "claimed_at")
                }
                | {"state": CLAIMED}
            )
            .on_conflict_do_nothing(index_elements=[messages.c.message_id])
            .returning(messages.c.id)
        )
        # channel_id
        self.persona = (
            select(personas.c.name, personas.c.about, personas.c.facts)
            .join(channels, channels.c.persona_id == personas.c.id)
            .where(channels.c.id == bindparam("channel_id"))
        )
        name = (
            select(personas.c.name)
            .join(channels, channels.c.persona_id == personas.c.id)
            .where(channels.c.id == bindparam("channel_id"))
            .scalar_subquery()
        )
        # channel_id, exchanges
        self.exchanges = (
            select(messages.c.speaker_name, messages.c.text, replies.c.text.label("reply"))
            .join(replies, replies.c.message_id == messages.c.id)
            .join(personas, personas.c.id == replies.c.persona_id)
            .where(messages.c.channel_id == bindparam("channel_id"), personas.c.name == name)
            .order_by(messages.c.id.desc())
            .limit(bindparam("exchanges"))
        )
        # name, about. Lists are compared outside: PostgreSQL has no equality for JSON.
        self.alike = (
            select(personas.c.id, personas.c.facts)
            .where(personas.c.name == bindparam("name"), personas.c.about == bindparam("about"))
            .order_by(personas.c.id.desc())
        )
        self.message = select(messages.c.id).where(messages.c.message_id == bindparam("message_id"))
        self.save_reply = (
            insert(replies)
            .values({name: bindparam(name) for name in ("message_id", "persona_id", "text", "adapter", "created_at")})
            .on_conflict_do_nothing(index_elements=[replies.c.message_id])
        )
        # of: the row's id
        self.answered = update(messages).where(messages.c.id == bindparam("of")).values(state=ANSWERED, reason=None)
        self.reply = (
            select(replies.c.id)
            .join(messages, replies.c.message_id == messages.c.id)
            .where(messages.c.message_id == bindparam("message_id"))
        )
        self.mark_sent = (
            insert(sent_parts)
            .values({name: bindparam(name) for name in ("reply_id", "part", "sent_id")})
            .on_conflict_do_nothing(index_elements=[sent_parts.c.reply_id, sent_parts.c.part])
        )

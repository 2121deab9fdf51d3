"""The statements of a message's path, made once: making one anew takes SQLAlchemy as long as the database takes for it.

They are about tables, not mapped classes, which would cost as much again.
"""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import BigInteger, Table, bindparam, case, or_, select, update

from persona_chat.store.tables import ANSWERED, CLAIMED, Messages, Personas, Replies, Revisions, Seats, SentParts

messages, personas, replies, revisions, seats, sent_parts = (
    cast("Table", mapped.__table__) for mapped in (Messages, Personas, Replies, Revisions, Seats, SentParts)
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
        # thread_id, me_id, channel_id, server_id
        given = {name: bindparam(f"{name}_id", type_=BigInteger) for name in ("thread", "me", "channel", "server")}
        rank = case(*((seats.c.scope == name, number) for number, name in enumerate(given)))
        self.seated = (
            select(
                seats.c.scope,
                seats.c.spot_id,
                personas.c.id,
                personas.c.home,
                personas.c.home_id,
                personas.c.by,
                revisions.c.id.label("revision_id"),
                *(revisions.c[name] for name in ("number", "name", "about", "facts", "greeting", "age_restricted")),
            )
            .join(personas, personas.c.id == seats.c.persona_id)
            .join(
                revisions,
                (revisions.c.persona_id == personas.c.id) & (revisions.c.number == personas.c.current),
            )
            .where(
                or_(*((seats.c.scope == name) & (seats.c.spot_id == place) for name, place in given.items())),
                or_(personas.c.home == "me", personas.c.home_id == given["server"]),
                personas.c.deleted_at.is_(None),
            )
            .order_by(rank)
            .limit(1)
        )
        # channel_id, persona_id, exchanges
        self.exchanges = (
            select(messages.c.speaker_name, messages.c.text, replies.c.text.label("reply"))
            .join(replies, replies.c.message_id == messages.c.id)
            .join(revisions, revisions.c.id == replies.c.revision_id)
            .where(
                messages.c.channel_id == bindparam("channel_id"),
                revisions.c.persona_id == bindparam("persona_id"),
            )
            .order_by(messages.c.id.desc())
            .limit(bindparam("exchanges"))
        )
        self.message = select(messages.c.id).where(messages.c.message_id == bindparam("message_id"))
        self.save_reply = (
            insert(replies)
            .values({name: bindparam(name) for name in ("message_id", "revision_id", "text", "adapter", "created_at")})
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

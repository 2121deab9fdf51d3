"""The statements of a message's path, made once: making one anew takes SQLAlchemy as long as the database takes for it.

They are about tables, not mapped classes, which would cost as much again.
"""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Table,
    bindparam,
    case,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from persona_chat.store.tables import (
    ANSWERED,
    CLAIMED,
    JOINED,
    REFUSED,
    Channels,
    Messages,
    Personas,
    Replies,
    Revisions,
    Seats,
    SentParts,
)

channels, messages, personas, replies, revisions, seats, sent_parts = (
    cast("Table", mapped.__table__) for mapped in (Channels, Messages, Personas, Replies, Revisions, Seats, SentParts)
)


_WORDS = ("number", "name", "about", "facts", "greeting", "age_restricted", "avatar_url")


class Statements:
    """Statements for one dialect; `insert` is its own. The names of parameters are those of columns, unless said."""

    def __init__(self, insert: Callable[..., Any]) -> None:
        self.claim = (
            insert(messages)
            .values(
                {
                    name: bindparam(name)
                    for name in (
                        "message_id",
                        "channel_id",
                        "server_id",
                        "speaker_id",
                        "speaker_name",
                        "text",
                        "claimed_at",
                        "parts",
                    )
                }
                | {"state": CLAIMED, "shown": 1}
            )
            .on_conflict_do_nothing(index_elements=[messages.c.message_id])
            .returning(messages.c.id)
        )
        # of: the row's id that it is joined to. It may have been claimed by itself before, and given up.
        joined = {
            "state": JOINED,
            "joined_to": bindparam("of", type_=BigInteger),
            "text": "",
            "speaker_name": "",
            "parts": null(),
        }
        given_up = select(messages.c.id).where(messages.c.state == REFUSED)
        whose = ("message_id", "channel_id", "server_id", "speaker_id", "claimed_at")
        self.join = (
            insert(messages)
            .values({name: bindparam(name) for name in whose} | {"shown": 1} | joined)
            .on_conflict_do_update(
                index_elements=[messages.c.message_id],
                set_=joined,
                where=or_(
                    messages.c.state.in_((CLAIMED, REFUSED)),
                    (messages.c.state == JOINED) & messages.c.joined_to.in_(given_up),
                ),
            )
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
                seats.c.by.label("set_by"),
                revisions.c.id.label("revision_id"),
                *(revisions.c[name] for name in _WORDS),
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
        since = select(channels.c.since).where(channels.c.id == bindparam("channel_id")).scalar_subquery()
        # channel_id, persona_id, exchanges; before: `messages.id` of the first that does not count any more
        self.exchanges = (
            select(messages.c.speaker_name, messages.c.text, replies.c.text.label("reply"))
            .join(replies, (replies.c.message_id == messages.c.id) & (replies.c.number == messages.c.shown))
            .join(revisions, revisions.c.id == replies.c.revision_id)
            .where(
                messages.c.channel_id == bindparam("channel_id"),
                messages.c.id > func.coalesce(since, 0),
                messages.c.id < bindparam("before", type_=BigInteger),
                messages.c.state == ANSWERED,
                revisions.c.persona_id == bindparam("persona_id"),
            )
            .order_by(messages.c.id.desc())
            .limit(bindparam("exchanges"))
        )
        # persona_id
        self.revision = (
            select(revisions.c.id)
            .join(
                personas,
                (personas.c.id == revisions.c.persona_id) & (personas.c.current == revisions.c.number),
            )
            .where(personas.c.id == bindparam("persona_id"), personas.c.deleted_at.is_(None))
        )
        # asked: Discord's id of the message; the rest are columns of replies
        asked = messages.c.message_id == bindparam("asked")
        saved = [replies.c[name] for name in ("revision_id", "text", "adapter", "how", "created_at")]
        self.save_reply = (
            insert(replies)
            .from_select(
                ["message_id", "number", *(column.name for column in saved)],
                select(messages.c.id, literal(1), *(_given(column) for column in saved)).where(asked),
            )
            .on_conflict_do_nothing(index_elements=[replies.c.message_id, replies.c.number])
        )
        self.answered = update(messages).where(asked).values(state=ANSWERED, reason=None)
        self.mark_sent = (
            insert(sent_parts)
            .from_select(
                ["reply_id", "part", "sent_id"],
                select(replies.c.id, _given(sent_parts.c.part), _given(sent_parts.c.sent_id))
                .join(messages, replies.c.message_id == messages.c.id)
                .where(asked, replies.c.number == 1),
            )
            .on_conflict_do_nothing(index_elements=[sent_parts.c.reply_id, sent_parts.c.part])
            .returning(sent_parts.c.reply_id)
        )
        self.reply = (
            select(replies.c.id)
            .join(messages, replies.c.message_id == messages.c.id)
            .where(asked, replies.c.number == 1)
        )


def _given(column: Column[Any]) -> BindParameter[Any]:
    """A parameter that is written as the column's values are: what people say under its key."""
    return bindparam(column.name, type_=column.type)

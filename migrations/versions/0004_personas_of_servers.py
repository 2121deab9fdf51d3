"""Personas belong to a server or a person, have revisions, and are set for threads, channels, servers and people.

Until now a channel had its persona's words, and each change of them was a row of its own. Rows of one name in one
server become the revisions of one persona. Where two channels of a server had different words under one name, the
second persona gets a number behind its name, so that both go on talking as they did.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SURROGATE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)

# The tables as they were, and as they are.
_old = sa.MetaData()
WORDS = sa.Table(
    "personas",
    _old,
    sa.Column("id", SURROGATE, primary_key=True),
    *(sa.Column(name, sa.Text()) for name in ("name", "about")),
    sa.Column("facts", sa.JSON()),
    sa.Column("created_at", MOMENT),
)
CHANNELS = sa.Table(
    "channels",
    _old,
    sa.Column("id", sa.BigInteger()),
    sa.Column("guild_id", sa.BigInteger()),
    sa.Column("persona_id", SURROGATE),
)
MESSAGES = sa.Table(
    "messages",
    _old,
    sa.Column("id", SURROGATE),
    sa.Column("channel_id", sa.BigInteger()),
    sa.Column("speaker_id", sa.BigInteger()),
)
REPLIES = sa.Table(
    "replies",
    _old,
    sa.Column("message_id", SURROGATE),
    sa.Column("persona_id", SURROGATE),
    sa.Column("revision_id", SURROGATE),
)


@dataclass
class _Persona:
    """One that is to be made. `rows` are the ids of its words, `channels` where it talked, `seated` where it talks."""

    home: str
    home_id: int
    name: str
    rows: list[int] = field(default_factory=list)
    channels: set[int] = field(default_factory=set)
    seated: list[int] = field(default_factory=list)
    current: int | None = None


def upgrade() -> None:
    connection = op.get_bind()
    words = {row.id: row for row in connection.execute(sa.select(WORDS).order_by(WORDS.c.id))}
    personas = list(_gathered(connection, words))
    with op.batch_alter_table("replies") as replies:
        replies.add_column(sa.Column("revision_id", SURROGATE, nullable=True))
    numbers = _point_replies(connection, personas)
    with op.batch_alter_table("replies") as replies:
        replies.drop_constraint(op.f("fk_replies_persona_id_personas"), type_="foreignkey")
        replies.drop_column("persona_id")
    op.drop_table("channels")
    op.drop_table("personas")
    _make_tables()
    _fill(connection, personas, words, numbers)
    with op.batch_alter_table("replies") as replies:
        replies.alter_column("revision_id", existing_type=SURROGATE, nullable=False)
        replies.create_foreign_key(op.f("fk_replies_revision_id_revisions"), "revisions", ["revision_id"], ["id"])


def _gathered(connection: sa.Connection, words: dict[int, sa.Row[Any]]) -> Iterator[_Persona]:
    """The personas that the channels had, one for each name in a server, and more where words differed."""
    used: dict[int, set[int]] = {}
    talked = sa.select(MESSAGES.c.channel_id, REPLIES.c.persona_id).join(REPLIES, REPLIES.c.message_id == MESSAGES.c.id)
    for channel_id, row in connection.execute(talked.distinct()):
        used.setdefault(channel_id, set()).add(row)
    found: dict[tuple[str, int, str], list[_Persona]] = {}
    for channel in connection.execute(sa.select(CHANNELS).order_by(CHANNELS.c.id)).all():
        in_server = channel.guild_id is not None
        home = "server" if in_server else "me"
        home_id = channel.guild_id if in_server else _person(connection, channel.id)
        rows = used.get(channel.id, set()) | ({channel.persona_id} - {None})
        for key in sorted({words[row].name.casefold() for row in rows}):
            mine = sorted(row for row in rows if words[row].name.casefold() == key)
            seated = channel.persona_id if channel.persona_id in mine else None
            alike = found.setdefault((home, home_id, key), [])
            fitting = [one for one in alike if seated is None or one.current in (None, seated)]
            if not fitting:
                number = f" {len(alike) + 1}" if alike else ""
                fitting = [_Persona(home, home_id, words[mine[-1]].name + number)]
                alike += fitting
            persona = fitting[0]
            persona.rows += [row for row in mine if row not in persona.rows]
            persona.channels.add(channel.id)
            if seated is not None:
                persona.current = seated
                persona.seated.append(channel.id)
    for alike in found.values():
        yield from alike


def _person(connection: sa.Connection, channel_id: int) -> int:
    """Whose direct messages these are; of somebody who never said anything the channel's id stands in."""
    spoke = sa.select(sa.func.min(MESSAGES.c.speaker_id)).where(MESSAGES.c.channel_id == channel_id)
    return connection.scalar(spoke) or channel_id


def _point_replies(connection: sa.Connection, personas: list[_Persona]) -> dict[tuple[int, int], int]:
    """Number the revisions by place of the persona and row of its words, and let the replies point at them."""
    numbers: dict[tuple[int, int], int] = {}
    for place, persona in enumerate(personas):
        here = sa.select(MESSAGES.c.id).where(MESSAGES.c.channel_id.in_(persona.channels))
        for row in sorted(persona.rows):
            numbers[place, row] = len(numbers) + 1
            connection.execute(
                sa.update(REPLIES)
                .where(REPLIES.c.persona_id == row, REPLIES.c.message_id.in_(here))
                .values(revision_id=numbers[place, row])
            )
    return numbers


def _make_tables() -> None:
    there = sa.text("deleted_at IS NULL")
    op.create_table(
        "personas",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("home", sa.String(16), nullable=False),
        sa.Column("home_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("current", sa.Integer(), nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.CheckConstraint("home IN ('server', 'me')", name=op.f("ck_personas_home")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personas")),
    )
    op.create_index(
        op.f("ix_personas_home_home_id_key"),
        "personas",
        ["home", "home_id", "key"],
        unique=True,
        sqlite_where=there,
        postgresql_where=there,
    )
    op.create_table(
        "revisions",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("persona_id", SURROGATE, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("greeting", sa.Text(), nullable=False),
        sa.Column("age_restricted", sa.Boolean(), nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_revisions_persona_id_personas")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("persona_id", "number", name=op.f("uq_revisions_persona_id_number")),
    )
    op.create_table(
        "seats",
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("spot_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("persona_id", SURROGATE, nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.CheckConstraint("scope IN ('thread', 'channel', 'server', 'me')", name=op.f("ck_seats_scope")),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_seats_persona_id_personas")),
        sa.PrimaryKeyConstraint("scope", "spot_id", name=op.f("pk_seats")),
    )


def _fill(
    connection: sa.Connection,
    personas: list[_Persona],
    words: dict[int, sa.Row[Any]],
    numbers: dict[tuple[int, int], int],
) -> None:
    made, now = sa.MetaData(), datetime.now(UTC)
    tables = [sa.Table(name, made, autoload_with=connection) for name in ("personas", "revisions", "seats")]
    for place, persona in enumerate(personas):
        rows = sorted(persona.rows)
        current = persona.current if persona.current is not None else rows[-1]
        connection.execute(
            tables[0].insert(),
            {
                "id": place + 1,
                "home": persona.home,
                "home_id": persona.home_id,
                "key": persona.name.casefold(),
                "current": rows.index(current) + 1,
                "created_at": words[rows[0]].created_at,
            },
        )
        for number, row in enumerate(rows, 1):
            connection.execute(
                tables[1].insert(),
                {
                    "id": numbers[place, row],
                    "persona_id": place + 1,
                    "number": number,
                    "name": persona.name if row == current else words[row].name,
                    "about": words[row].about,
                    "facts": words[row].facts,
                    "greeting": "",
                    "age_restricted": False,
                    "created_at": words[row].created_at,
                },
            )
        for channel in persona.seated:
            # Threads had personas as channels have. Which ids are threads is not known here, and the other seat is
            # never looked for.
            for scope in ("channel", "thread"):
                seat = {"scope": scope, "spot_id": channel, "persona_id": place + 1, "updated_at": now}
                connection.execute(tables[2].insert(), seat)
    if connection.dialect.name == "postgresql":  # which counts on from what it gave out itself
        for table, used in (("personas", len(personas)), ("revisions", len(numbers))):
            if used:
                connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {used})"))

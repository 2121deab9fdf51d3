"""First tables: personas, channels, messages, replies, sent parts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SURROGATE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _personas_and_channels()
    _messages()
    _replies()


def _personas_and_channels() -> None:
    op.create_table(
        "personas",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_personas")),
    )
    op.create_table(
        "channels",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild_id", sa.BigInteger(), nullable=True),
        sa.Column("persona_id", SURROGATE, nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_channels_persona_id_personas")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("channel_id", sa.BigInteger(), nullable=False),
        sa.Column("speaker_id", sa.BigInteger(), nullable=False),
        sa.Column("speaker_name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('claimed', 'answered', 'refused')", name=op.f("ck_messages_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("message_id", name=op.f("uq_messages_message_id")),
    )
    op.create_index(op.f("ix_messages_channel_id_id"), "messages", ["channel_id", "id"])


def _replies() -> None:
    op.create_table(
        "replies",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("message_id", SURROGATE, nullable=False),
        sa.Column("persona_id", SURROGATE, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_replies_message_id_messages")),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_replies_persona_id_personas")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replies")),
        sa.UniqueConstraint("message_id", name=op.f("uq_replies_message_id")),
    )
    op.create_table(
        "sent_parts",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("reply_id", SURROGATE, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("sent_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["reply_id"], ["replies.id"], name=op.f("fk_sent_parts_reply_id_replies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sent_parts")),
        sa.UniqueConstraint("reply_id", "part", name=op.f("uq_sent_parts_reply_id_part")),
    )

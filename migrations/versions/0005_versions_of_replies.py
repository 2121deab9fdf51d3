"""Replies have versions and say what they were made with; messages can be deleted; channels have manners."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _messages()
    _replies()
    op.create_index(op.f("ix_sent_parts_sent_id"), "sent_parts", ["sent_id"])
    op.create_table(
        "channels",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("mode", sa.String(16), nullable=True),
        sa.Column("chance", sa.Integer(), nullable=False),
        sa.Column("cooldown_s", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("since_before", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("mode IN ('mention', 'every', 'chance', 'off')", name=op.f("ck_channels_mode")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channels")),
    )


def _messages() -> None:
    # Each row there is needs a value once; afterwards there is no default.
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("shown", sa.Integer(), nullable=False, server_default="1"))
        messages.drop_constraint(op.f("ck_messages_state"), type_="check")
        messages.create_check_constraint(
            op.f("ck_messages_state"), "state IN ('claimed', 'answered', 'refused', 'deleted')"
        )
    with op.batch_alter_table("messages") as messages:
        messages.alter_column("shown", existing_type=sa.Integer(), existing_nullable=False, server_default=None)


def _replies() -> None:
    with op.batch_alter_table("replies") as replies:
        replies.add_column(sa.Column("number", sa.Integer(), nullable=False, server_default="1"))
        replies.add_column(sa.Column("how", sa.JSON(), nullable=True))
        replies.drop_constraint(op.f("uq_replies_message_id"), type_="unique")
        replies.create_unique_constraint(op.f("uq_replies_message_id_number"), ["message_id", "number"])
    with op.batch_alter_table("replies") as replies:
        replies.alter_column("number", existing_type=sa.Integer(), existing_nullable=False, server_default=None)

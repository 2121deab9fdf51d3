"""What people chose about their data, and the indexes with which their words are found and let go of."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KNOWN = sa.text("speaker_id <> 0")


def upgrade() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("opted_out_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_index(op.f("ix_messages_speaker_id"), "messages", ["speaker_id"])
    op.create_index(
        op.f("ix_messages_claimed_at"), "messages", ["claimed_at"], sqlite_where=KNOWN, postgresql_where=KNOWN
    )
    op.create_index(op.f("ix_replies_revision_id"), "replies", ["revision_id"])

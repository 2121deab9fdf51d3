"""What people think of replies, which goes with the version that it is about."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SURROGATE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", SURROGATE, nullable=False),
        sa.Column("reply_id", SURROGATE, nullable=False),
        sa.Column("person_id", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(8), nullable=True),
        sa.Column("suggestion", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('up', 'down')", name=op.f("ck_feedback_verdict")),
        sa.ForeignKeyConstraint(
            ["reply_id"], ["replies.id"], name=op.f("fk_feedback_reply_id_replies"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint("reply_id", "person_id", name=op.f("uq_feedback_reply_id_person_id")),
    )
    op.create_index(op.f("ix_feedback_person_id"), "feedback", ["person_id"])

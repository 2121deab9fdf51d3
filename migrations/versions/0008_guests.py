"""More than one persona can talk in a channel: guests, who answer when they are called."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guests",
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("spot_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("persona_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=True),
        sa.Column("invited_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("scope IN ('thread', 'channel')", name=op.f("ck_guests_scope")),
        sa.ForeignKeyConstraint(["persona_id"], ["personas.id"], name=op.f("fk_guests_persona_id_personas")),
        sa.PrimaryKeyConstraint("scope", "spot_id", "persona_id", name=op.f("pk_guests")),
    )
    op.create_index(op.f("ix_guests_persona_id"), "guests", ["persona_id"])

"""Messages that a person sends right after each other are answered together."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("parts", sa.JSON(), nullable=True))
        messages.add_column(sa.Column("joined_to", ID, nullable=True))
        messages.create_foreign_key(op.f("fk_messages_joined_to_messages"), "messages", ["joined_to"], ["id"])
        messages.drop_constraint(op.f("ck_messages_state"), type_="check")
        messages.create_check_constraint(
            op.f("ck_messages_state"), "state IN ('claimed', 'answered', 'refused', 'deleted', 'joined')"
        )

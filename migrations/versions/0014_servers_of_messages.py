"""Messages say which server they were said in, so that they can be forgotten with it; older ones do not."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("messages") as messages:
        messages.add_column(sa.Column("server_id", sa.BigInteger(), nullable=True))

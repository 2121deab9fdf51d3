"""Personas have a picture, by its address."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Each row there is needs a value once; afterwards there is no default.
    with op.batch_alter_table("revisions") as revisions:
        revisions.add_column(sa.Column("avatar_url", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("revisions") as revisions:
        revisions.alter_column("avatar_url", existing_type=sa.Text(), existing_nullable=False, server_default=None)

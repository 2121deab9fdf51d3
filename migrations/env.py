"""What Alembic runs around the revisions. `persona_chat.store.schema` hands over a connection in a transaction.

It is one transaction for all of an upgrade's revisions, with foreign keys off on SQLite, and is committed there.
"""

from alembic import context
from sqlalchemy import Connection

from persona_chat.store.tables import Base


def run(connection: Connection) -> None:
    """Run the revisions that the command asks for."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        # Alembic thinks that SQLite cannot undo DDL. It can, in a transaction that sqlite3 did not begin itself.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run(context.config.attributes["connection"])

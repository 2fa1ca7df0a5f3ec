"""Run the migrations against the database of the settings, or of the caller."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from core.database import connect
from core.models import Table
from core.settings import Settings

LOCK = 4_160_751  # any number that nothing else locks


def wait_for_others(connection: Connection) -> None:
    """Let one process migrate at a time; on SQLite the transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


engine = connect(context.config.attributes.get("url") or Settings().database)
with engine.begin() as connection:
    wait_for_others(connection)
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        # SQLite can't alter a table in place
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()

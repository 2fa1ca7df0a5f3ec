"""Run the migrations against the database of the settings, or of the caller."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from core.database.engine import connect
from core.database.tables import Table
from core.settings import Settings

LOCK = 4_160_751  # any number that nothing else locks


def wait_for_others(connection: Connection) -> None:
    """Let one process migrate at a time; on SQLite the transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def without_foreign_keys(connection: Connection) -> None:
    """Let SQLite make a table anew that others point to; outside of a transaction, where the pragma counts."""
    if connection.dialect.name == "sqlite":
        connection.connection.driver_connection.execute("PRAGMA foreign_keys=OFF")


def check_foreign_keys(connection: Connection) -> None:
    """Refuse what the migrations have made if anything points nowhere."""
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RuntimeError("a migration has left rows that point to nothing; nothing was changed")


engine = connect(context.config.attributes.get("url") or Settings().database)
with engine.connect() as connection:
    without_foreign_keys(connection)
    with connection.begin():
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
        check_foreign_keys(connection)
engine.dispose()

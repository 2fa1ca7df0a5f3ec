"""Run the migrations against the database of the settings, or of the caller."""

from __future__ import annotations

from alembic import context

from core.database import connect
from core.models import Table
from core.settings import Settings

url = context.config.attributes.get("url") or Settings().database
engine = connect(url)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        # SQLite can't alter a table in place
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
engine.dispose()

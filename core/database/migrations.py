"""The database's revision, and how it is brought to the newest: `python -m core.database.migrations`, anywhere."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from core.database import file_remains
from core.database.engine import connect
from core.disk import ROOT, keep_private
from core.settings import Settings


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down; processes that race wait for the first."""
    config = _migrations()
    config.attributes["url"] = url
    if revision == "head" or revision.startswith("+"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)
    _clear_old_pages(url)


def _clear_old_pages(url: str) -> None:
    """Write a SQLite file anew once: what was deleted before this version did not overwrite it."""
    if make_url(url).get_backend_name() != "sqlite":
        return
    engine = connect(url)
    if not file_remains.written_anew_at(engine):
        file_remains.write_anew(engine)  # or the next start does, where somebody is busy
    engine.dispose()


def revision(url: str) -> str | None:
    """Tell which revision the schema has; None for a database without one."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    engine.dispose()
    return found


def revisions() -> set[str]:
    """List the revisions that this version knows."""
    return {script.revision for script in ScriptDirectory.from_config(_migrations()).walk_revisions()}


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    return config


if __name__ == "__main__":
    keep_private()
    migrate(Settings().database)

"""The database's revision, and how it is brought to the newest."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from core.disk import ROOT


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down; processes that race wait for the first."""
    config = _migrations()
    config.attributes["url"] = url
    if revision == "head" or revision.startswith("+"):
        command.upgrade(config, revision)
    else:
        command.downgrade(config, revision)


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

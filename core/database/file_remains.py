"""What SQLite's files keep of deleted rows, and how it goes: the log is emptied, and the file is written anew.

With `secure_delete` SQLite overwrites what it frees. That leaves the log, which holds pages as they were until it is
emptied, and, seldom, the copy of a row in the unused middle of a page from which the row was moved to another one:
that goes when the whole file is written anew. PostgreSQL has other ways, which are its operator's.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from core.database.engine import BUSY_SECONDS

PATIENCE_MS = 250  # emptying the log lets no writer in while it waits for readers
NO_TRANSACTION = {"no_transaction": True}


def empty_log(engine: Engine) -> bool:
    """Move what the log holds into the database's file and cut it to nothing; False while readers are in the way.

    True for a database that has no such log.
    """
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect().execution_options(**NO_TRANSACTION) as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")  # nearly all of the work, in nobody's way
        return _truncated(connection)


def _truncated(connection: Connection) -> bool:
    connection.exec_driver_sql(f"PRAGMA busy_timeout={PATIENCE_MS}")
    try:
        busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy
    except OperationalError:  # a writer was in the way
        return False
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={1000 * BUSY_SECONDS}")


def written_anew_at(engine: Engine) -> int:
    """Return when the database's file was last written anew, in unix seconds; 0 for never."""
    with engine.connect().execution_options(**NO_TRANSACTION) as connection:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def write_anew(engine: Engine) -> bool:
    """Write the database's file anew, which takes about a second for 100 MB and lets no writer in; False if busy."""
    try:
        with engine.connect().execution_options(**NO_TRANSACTION) as connection:
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql(f"PRAGMA user_version={int(time.time())}")
    except OperationalError:
        return False
    return empty_log(engine)


def file_bytes(engine: Engine) -> int:
    """Return the size of the database's file."""
    return Path(str(engine.url.database)).stat().st_size

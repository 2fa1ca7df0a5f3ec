"""Whether a database's error means that it is away, locked or slow, so that the same call may work a little later.

Everything else is a fault of a statement, whatever class the driver gives it: it fails again, and is to be noticed.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError

SQLITE_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_SCHEMA,  # somebody migrates it just now
        sqlite3.SQLITE_FULL,
    }
)
# by PostgreSQL's classes: connections, rollbacks to be tried again, resources, operators (who end a connection, or a
# statement that takes too long), the system; then a standby that takes no writes, idling too long, a lock that is held
POSTGRES_AWAY = ("08", "40", "53", "57", "58", "25006", "25P03", "55P03")
DISK_FULL = "53100"
TOO_MANY_VALUES = "number of parameters must be"  # says libpq, which has no code for it


def away(error: DBAPIError) -> bool:
    """Tell whether the database can't serve now; False where the statement is to blame."""
    if error.connection_invalidated:
        return True
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in SQLITE_AWAY
    state = getattr(cause, "sqlstate", None)
    if state is None:  # the server has not spoken
        return TOO_MANY_VALUES not in str(cause)
    return str(state).startswith(POSTGRES_AWAY)


def disk_full(error: DBAPIError) -> bool:
    """Tell whether the database has no room left."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error.orig) == sqlite3.SQLITE_FULL
    return getattr(error.orig, "sqlstate", None) == DISK_FULL


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest of it says which kind of it

"""What is left on a machine of work that is over: folders of dead attempts, and uploads of a process that was killed.

A worker sweeps its own machine when it starts and with every sign of life; the eraser sweeps the one that it runs on.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import now
from core.database.tables import Account, Job, JobState
from core.erasure import trainer_output
from core.runtime import removal

ATTEMPT = re.compile(r"(ftjob-\w+)-e(\d+)")
DRAFTS = "drafts"  # where folders of attempts are filled
FORMER = "ftjob-*"  # where attempts of older versions worked, with no account's folder around: none runs any more
CHUNK = 500  # jobs that are asked for at once


def sweep(data: Path, sessions: sessionmaker[Session]) -> float | None:
    """Erase what nobody works on any more below a data folder; returns the database's time at which that began.

    None where something could not be erased.
    """
    with sessions() as session:
        at = now(session)
    dead = [*_dead_attempts(data / "work", sessions), *(data / "work").glob(FORMER)]
    left = [path for path in dead if not removal.remove(path)]
    output_went = trainer_output.sweep(data, sessions)
    return at if sweep_uploads(data) and output_went and not left else None


def sweep_uploads(data: Path) -> bool:
    """Erase what killed processes have received, however young it is; False where something could not be erased."""
    return not [path for path in _abandoned_uploads(data / "uploads") if not removal.remove(path)]


def _dead_attempts(work: Path, sessions: sessionmaker[Session]) -> Iterator[Path]:
    """Find the folders whose attempt does not run, and whatever else is left of accounts that are erased.

    They are listed before the jobs are asked for. An attempt's folder is made after its claim is committed, and the
    numbers of attempts only grow.
    """
    everything = {path: ATTEMPT.fullmatch(path.name) for path in [*work.glob("acct-*/*"), *work.glob(f"{DRAFTS}/*")]}
    found = {path: match for path, match in everything.items() if match}
    owned = _remaining(sessions, {path.parent.name for path in everything})
    yield from (path for path in everything if path not in found and path.parent.name not in owned)
    paths = sorted(found)
    for start in range(0, len(paths), CHUNK):
        chunk = paths[start : start + CHUNK]
        running = _running(sessions, {found[path][1] for path in chunk})
        yield from (path for path in chunk if running.get(found[path][1]) != int(found[path][2]))


def _remaining(sessions: sessionmaker[Session], account_ids: Iterable[str]) -> set[str]:
    """Return those of the accounts that are not erased."""
    ids, remaining = sorted(account_ids), set[str]()
    for start in range(0, len(ids), CHUNK):
        kept = select(Account.id).where(Account.id.in_(ids[start : start + CHUNK]), Account.erased_at.is_(None))
        with sessions() as session:
            remaining |= set(session.scalars(kept))
    return remaining


def _running(sessions: sessionmaker[Session], job_ids: Iterable[str]) -> dict[str, int]:
    """Return the attempts that run of these jobs."""
    rows = select(Job.id, Job.attempt).where(Job.id.in_(sorted(job_ids)), Job.state == JobState.RUNNING)
    with sessions() as session:
        return {row.id: row.attempt for row in session.execute(rows)}


class OwnFolder:
    """A folder that is this process's own as long as it lives: its lock goes with the process, however that ends."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._making = threading.Lock()
        self._made: tuple[Path, int] | None = None  # with the descriptor that holds the lock

    @property
    def path(self) -> Path:
        """Return the folder, made when it is first asked for."""
        with self._making:
            while self._made is None:
                self._made = self._locked()
            return self._made[0]

    def _locked(self) -> tuple[Path, int] | None:
        """Make and lock a folder; None where somebody has swept it between the two."""
        self._parent.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=self._parent, prefix="process-"))
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                return path, lock
        os.close(lock)
        return None


def _abandoned_uploads(uploads: Path) -> Iterator[Path]:
    """Find what lies among the uploads and belongs to no process that lives."""
    for path in sorted(uploads.glob("*")):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            yield path
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        else:
            yield path  # erased while the lock is held
        finally:
            os.close(lock)


def holds(data: Path, account_id: str, file_id: str | None = None) -> bool:
    """Tell whether living processes still hold uploads of an account, or copies of one file; they end by themselves."""
    within = data / "uploads"
    return any(within.glob(f"*/{account_id}/{file_id}-*" if file_id else f"*/{account_id}/*"))

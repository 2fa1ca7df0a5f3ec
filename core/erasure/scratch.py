"""What is left on a machine of work that is over: folders of dead attempts, and uploads of a process that was killed.

A worker sweeps its own machine when it starts and with every sign of life; the eraser sweeps the one that it runs on.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import now
from core.database.tables import Job, JobState

ATTEMPT = re.compile(r"(ftjob-\w+)-e(\d+)")
CHUNK = 500  # jobs that are asked for at once


def sweep(data: Path, sessions: sessionmaker[Session]) -> float | None:
    """Erase what nobody works on any more below a data folder; returns the database's time at which that began.

    None where something could not be erased.
    """
    with sessions() as session:
        at = now(session)
    left = [path for path in _dead_attempts(data / "work", sessions) if not _erased(path)]
    left += [path for path in _abandoned_uploads(data / "uploads") if not _erased(path)]
    return None if left else at


def _dead_attempts(work: Path, sessions: sessionmaker[Session]) -> Iterator[Path]:
    """Find the folders whose attempt does not run; they are listed before the jobs are asked for.

    An attempt's folder is made after its claim is committed, and the numbers of attempts only grow.
    """
    found = {path: match for path in work.glob("acct-*/ftjob-*") if (match := ATTEMPT.fullmatch(path.name))}
    paths = sorted(found)
    for start in range(0, len(paths), CHUNK):
        chunk = paths[start : start + CHUNK]
        running = _running(sessions, {found[path][1] for path in chunk})
        yield from (path for path in chunk if running.get(found[path][1]) != int(found[path][2]))


def _running(sessions: sessionmaker[Session], job_ids: Iterable[str]) -> dict[str, int]:
    """Return the attempts that run of these jobs."""
    rows = select(Job.id, Job.attempt).where(Job.id.in_(sorted(job_ids)), Job.state == JobState.RUNNING)
    with sessions() as session:
        return {job_id: attempt for job_id, attempt in session.execute(rows).tuples()}


def own_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder that is this process's own as long as it lives; its lock goes with the process, however it ends."""
    parent.mkdir(parents=True, exist_ok=True)
    while True:
        path = parent / f"of-{os.getpid()}-{os.urandom(4).hex()}"
        path.mkdir(mode=0o700)
        try:
            lock = os.open(path, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # somebody has swept it between the two
            continue
        if path.exists():
            return path, lock
        os.close(lock)


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


def holds(data: Path, account_id: str) -> bool:
    """Tell whether living processes still hold uploads of an account, which end by themselves."""
    return any((data / "uploads").glob(f"*/{account_id}*"))


def _erased(path: Path) -> bool:
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)

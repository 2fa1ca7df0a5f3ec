"""What trainers have printed, where that is kept, goes when its job, or what it was made of, is erased or tidied up."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.database.tables import File, Job
from core.runtime.printed.kept_output import kept

CHUNK = 500  # jobs that are asked for at once


def sweep(data: Path, sessions: sessionmaker[Session]) -> bool:
    """Erase below a data folder what need not or must not be there; False where something could not be erased."""
    found, whole = kept(data), True
    for start in range(0, len(found), CHUNK):
        chunk = found[start : start + CHUNK]
        with sessions() as session:
            wanted = _wanted(session, {job_id for job_id, _ in chunk})
        for path in [path for job_id, path in chunk if job_id not in wanted]:
            with suppress(OSError):  # somebody else's
                path.unlink(missing_ok=True)
            whole &= not os.path.lexists(path)
            with suppress(OSError):  # others are in it
                path.parent.rmdir()
    return whole


def _wanted(session: Session, job_ids: set[str]) -> set[str]:
    """Find the jobs whose output may be kept: all that they were made of is there, and their end was not long ago."""
    which = Job.id.in_(sorted(job_ids)) & Job.deleted_at.is_(None) & Job.tidied_at.is_(None)
    used = {
        row.id: {*row.training_files, *([row.validation_file] if row.validation_file else [])}
        for row in session.execute(select(Job.id, Job.training_files, Job.validation_file).where(which))
    }
    files = sorted(set().union(*used.values()))
    there = set(session.scalars(select(File.id).where(File.id.in_(files), File.deleted_at.is_(None))))
    return {job_id for job_id, needed in used.items() if needed <= there}

"""Where attempts work on this machine, and how what dead ones left there is erased.

Each account has a folder of its own in data/work, which is all that its trainers see of other jobs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from core.database.tables import Job, JobState
from core.jobs.leases import Claim
from core.settings import Settings
from worker.job_folder import JobFolder
from worker.trainer.sandbox import Cage


def account_folder(settings: Settings, account_id: str) -> Path:
    """Return where all attempts at an account's jobs work."""
    return settings.data / "work" / account_id


def cage(settings: Settings, account_id: str) -> Cage:
    """Return what the trainer of an account's jobs may write: its own work folder; where trainers are shared, all."""
    if settings.share_trainers:
        return Cage(settings.data / "work", pools=True)
    return Cage(account_folder(settings, account_id))


def attempt_folder(settings: Settings, account_id: str, claim: Claim) -> JobFolder:
    """Return where the attempt of a claim works."""
    return JobFolder(account_folder(settings, account_id) / f"{claim.job_id}-e{claim.attempt}")


def sweep(settings: Settings, sessions: sessionmaker[Session]) -> None:
    """Erase the folders of attempts that are over: references are private, and a killed worker leaves them."""
    for path in (settings.data / "work").glob("acct-*/ftjob-*-e*"):
        job_id, _, attempt = path.name.rpartition("-e")
        with sessions() as session:
            job = session.get(Job, job_id)
        # an attempt's folder is made after its claim is committed, and the numbers of attempts only grow
        if job is None or job.state != JobState.RUNNING or str(job.attempt) != attempt:
            shutil.rmtree(path, ignore_errors=True)

"""Where attempts work on this machine; what dead ones left there core.erasure.scratch erases.

Each account has a folder of its own in data/work, which is all that its trainers see of other jobs.
"""

from __future__ import annotations

from pathlib import Path

from core.erasure.scratch import DRAFTS
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


def draft_folder(settings: Settings, claim: Claim) -> JobFolder:
    """Return where an attempt's folder is filled: no trainer sees it, so none can lead what is written there astray."""
    return JobFolder(settings.data / "work" / DRAFTS / f"{claim.job_id}-e{claim.attempt}")


def clear_older(settings: Settings, account_id: str, claim: Claim) -> None:
    """Erase what dead attempts at a claim's job left on this machine, or put there."""
    for number in range(1, claim.attempt + 1):
        attempt = Claim(claim.job_id, number)
        draft_folder(settings, attempt).remove()
        attempt_folder(settings, account_id, attempt).remove()

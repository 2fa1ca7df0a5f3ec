"""Kept steps of a job: each is listed as soon as its weights lie in the store, and as long as they do.

Until its stage is stored they are files of a kind of their own; from then on they are among those of the stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.accounts import stored_bytes
from core.database.engine import now
from core.database.tables import Artifact, Checkpoint, Job
from core.jobs.event_codes import EventCode
from core.jobs.events import record
from core.jobs.leases import Claim, held

KEPT = "kept"  # the kind of artifacts that kept steps are while their stage goes on
TOLD = ("labels", "storage_key", "sha256", "bytes", "metrics")  # what may be more, or other, the next time
SENTENCE = "Step {} is kept: its weights can be downloaded as {}:ckpt-step-{}."


def keep(session: Session, claim: Claim, checkpoint: Checkpoint, file: Artifact, name: str) -> bool:
    """List a step whose file was stored, and tell of one that is new; `name` is that of the adapter to be."""
    job = held(session, claim)
    if job is None:
        return False
    with stored_bytes.counting(session, claim.job_id):
        file.job_id, file.attempt, file.created_at = claim.job_id, claim.attempt, now(session)
        session.merge(file)
    row, new = enter(session, job, claim, checkpoint)
    if new:
        told = {"checkpoint": row.id, "step": row.step}
        words = SENTENCE.format(row.step, name, row.step)
        record(
            session,
            claim.job_id,
            words,
            code=EventCode.CHECKPOINT_KEPT,
            data=told,
            stage="train",
            attempt=claim.attempt,
            actor="worker",
        )
    return True


def enter(session: Session, job: Job, claim: Claim, told: Checkpoint) -> tuple[Checkpoint, bool]:
    """Write down what is told of a kept step, under the id that it has; says also whether it had none."""
    mine = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == told.step)
    row = session.scalar(mine)
    new = row is None
    if row is None:
        row = Checkpoint(job_id=job.id, account_id=job.account_id, step=told.step, created_at=now(session))
        session.add(row)
    row.attempt = claim.attempt
    for name in TOLD:
        setattr(row, name, getattr(told, name))
    session.flush()
    return row, new


def begin_anew(session: Session, claim: Claim) -> list[str] | None:
    """List nothing any more, as training begins again; returns useless keys, or None where the claim is over."""
    if held(session, claim) is None:
        return None
    session.execute(delete(Checkpoint).where(Checkpoint.job_id == claim.job_id))
    return _let_go(session, claim, ())


def settle(session: Session, claim: Claim, files: Mapping[int, Artifact]) -> list[str]:
    """Let the files of the finished stage, by step, be what is listed, and nothing else; returns useless keys."""
    for row in session.scalars(select(Checkpoint).where(Checkpoint.job_id == claim.job_id)):
        if (file := files.get(row.step)) is None:
            session.delete(row)
        else:
            row.storage_key, row.sha256, row.bytes = file.storage_key, file.sha256, file.bytes
    return _let_go(session, claim, [file.storage_key for file in files.values()])


def _let_go(session: Session, claim: Claim, needed: Sequence[str]) -> list[str]:
    mine = (Artifact.job_id == claim.job_id) & (Artifact.kind == KEPT)
    before = set(session.scalars(select(Artifact.storage_key).where(mine)))
    with stored_bytes.counting(session, claim.job_id):
        session.execute(delete(Artifact).where(mine))
    return sorted(before - set(needed))

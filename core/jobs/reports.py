"""What a worker writes about its job while it holds the lease: events, curves, stored files, kept checkpoints.

Under a claim that is over they change nothing, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from core.accounts import stored_bytes
from core.database.engine import now
from core.database.tables import Artifact, Checkpoint, Job, JobEvent, Json, Metric
from core.findings.finding import from_wire
from core.jobs import standing
from core.jobs.event_codes import EventCode
from core.jobs.events import record, tell
from core.jobs.leases import Claim, held

LOSS_SECONDS = 10.0
MOST_VALLEYS = 2  # the second one is the turning point
SAVE = "save"  # the kind of artifacts that say where a stage stood
LIVE = "live"  # of those that are looked at while a job trains
KEPT = "kept"  # of kept steps, until their stage is stored: then they are among its files
KEPT_WORDS = "Step {} is kept: its weights can be downloaded as {}:ckpt-step-{}."
OF_A_STEP = ("labels", "storage_key", "sha256", "bytes", "metrics")  # what may be more, or other, the next time


def report(
    session: Session,
    claim: Claim,
    message: str,
    *,
    code: EventCode = EventCode.NOTE,
    level: str = "info",
    data: Json | None = None,
    stage: str | None = None,
) -> bool:
    """Append an event of the worker that holds the lease, and the finding in its data; False where it has lost it."""
    job = held(session, claim)
    if job is None:
        return False
    if (finding := from_wire((data or {}).get("finding"))) is not None:
        tell(session, job, finding, actor="worker", attempt=claim.attempt, stage=stage)
    else:
        record(
            session,
            claim.job_id,
            message,
            code=code,
            level=level,
            data=data,
            stage=stage,
            attempt=claim.attempt,
            actor="worker",
        )
    return True


def note_course(session: Session, claim: Claim, course: Json | None) -> bool:
    """Write down how far the job is on its way through its stages."""
    job = held(session, claim)
    if job is None:
        return False
    job.course = course or job.course
    return True


def know(session: Session, claim: Claim, facts: Json) -> bool:
    """Add to the outcome what is known of it before its end; reasons are added to those that are there."""
    job = held(session, claim)
    if job is None:
        return False
    before = job.outcome or {}
    reasons = {**before.get("reasons", {}), **facts.get("reasons", {})}
    job.outcome = before | facts | ({"reasons": reasons} if reasons else {})
    return True


def add_metrics(session: Session, claim: Claim, stage: str, rows: Sequence[Json]) -> bool:
    """Write rows of a curve, each with its `step`; rows of an earlier attempt at the same steps are replaced."""
    job = held(session, claim)
    if job is None:
        return False
    at = now(session)
    steps = {int(row["step"]): {name: value for name, value in row.items() if name != "step"} for row in rows}
    session.execute(delete(Metric).where(Metric.job_id == claim.job_id, Metric.stage == stage, Metric.step.in_(steps)))
    session.add_all(
        Metric(job_id=claim.job_id, stage=stage, step=step, attempt=claim.attempt, created_at=at, data=data)
        for step, data in steps.items()
    )
    if stage == "train" and steps:
        _note_valleys(job, steps)
        _tell_loss(session, claim, max(steps), steps[max(steps)].get("loss"))
    return True


def _note_valleys(job: Job, rows: Mapping[int, Json]) -> None:
    """Let a running job's outcome have the valleys of CS-Fluctuation as soon as they are known; a new run has none."""
    told = [row.get("valleys", [] if step == 0 else None) for step, row in sorted(rows.items())]
    valleys = next((found for found in reversed(told) if isinstance(found, list)), None)
    if valleys is not None and valleys != (job.outcome or {}).get("valleys", []):
        steps = [standing.counted(step) for step in valleys[:MOST_VALLEYS] if isinstance(step, int)]
        job.outcome = {**(job.outcome or {}), "valleys": steps}


def _tell_loss(session: Session, claim: Claim, step: int, loss: object) -> None:
    """Add an event of OpenAI's type metrics, not oftener than every few seconds: the curve itself has every row."""
    told = (JobEvent.job_id == claim.job_id) & (JobEvent.type == "metrics")
    last = session.scalar(select(func.max(JobEvent.created_at)).where(told))
    if isinstance(loss, float) and (last is None or now(session) - last >= LOSS_SECONDS):
        data = {"step": step, "train_loss": loss}
        words = f"Step {step}: training loss {loss:.4f}"
        record(
            session,
            claim.job_id,
            words,
            code=EventCode.LOSS,
            type="metrics",
            data=data,
            stage="train",
            attempt=claim.attempt,
            actor="worker",
        )


def add_artifacts(session: Session, claim: Claim, artifacts: Sequence[Artifact]) -> bool:
    """Register stored files of the job, replacing those of the same name from an earlier attempt."""
    if held(session, claim) is None:
        return False
    with stored_bytes.counting(session, claim.job_id):
        _merge(session, claim, artifacts)
    return True


def _merge(session: Session, claim: Claim, artifacts: Sequence[Artifact]) -> None:
    at = now(session)
    for artifact in artifacts:
        artifact.job_id, artifact.attempt, artifact.created_at = claim.job_id, claim.attempt, at
        session.merge(artifact)


def finish_stage(session: Session, claim: Claim, stage: str, artifacts: Sequence[Artifact]) -> bool:
    """Register the files of a finished stage; from here on the job goes on, so faults are counted anew."""
    job = held(session, claim)
    if job is None:
        return False
    standing.advance(job, stage)
    return add_artifacts(session, claim, artifacts)


def replace_saves(
    session: Session, claim: Claim, saves: Sequence[Artifact], at: tuple[str, int] | None = None
) -> list[str] | None:
    """Register where a stage now stands in place of all that was saved before; None where the lease is lost.

    `at` is the stage and its step, as far as the trainer has told. Returns the storage keys that nothing refers to any
    more.
    """
    job = held(session, claim)
    if job is None:
        return None
    if at is not None:
        standing.advance(job, *at)
    return _replace(session, claim, SAVE, saves)


def replace_live(session: Session, claim: Claim, samples: Sequence[Artifact]) -> list[str] | None:
    """Register what there is to look at while the job trains in place of what was there; returns as `replace_saves`."""
    if held(session, claim) is None:
        return None
    return _replace(session, claim, LIVE, samples)


def _replace(session: Session, claim: Claim, kind: str, artifacts: Sequence[Artifact]) -> list[str]:
    mine = (Artifact.job_id == claim.job_id) & (Artifact.kind == kind)
    before = set(session.scalars(select(Artifact.storage_key).where(mine)))
    with stored_bytes.counting(session, claim.job_id):
        session.execute(delete(Artifact).where(mine))
        _merge(session, claim, artifacts)
    return sorted(before - {artifact.storage_key for artifact in artifacts})


def add_checkpoints(session: Session, claim: Claim, checkpoints: Sequence[Checkpoint]) -> bool:
    """Register the kept steps of the finished training; those that were listed while it went on keep their ids."""
    job = held(session, claim)
    if job is None:
        return False
    steps = [checkpoint.step for checkpoint in checkpoints]
    session.execute(delete(Checkpoint).where(Checkpoint.job_id == claim.job_id, Checkpoint.step.not_in(steps)))
    for checkpoint in checkpoints:
        _enter(session, job, claim, checkpoint)
    return True


def keep_step(session: Session, claim: Claim, checkpoint: Checkpoint, file: Artifact, name: str) -> bool:
    """List a step whose file was stored, and tell of one that is new; `name` is that of the adapter to be."""
    job = held(session, claim)
    if job is None:
        return False
    with stored_bytes.counting(session, claim.job_id):
        _merge(session, claim, [file])
    row, new = _enter(session, job, claim, checkpoint)
    if new:
        told = {"checkpoint": row.id, "step": row.step}
        words = KEPT_WORDS.format(row.step, name, row.step)
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


def _enter(session: Session, job: Job, claim: Claim, told: Checkpoint) -> tuple[Checkpoint, bool]:
    """Write down what is told of a kept step, under the id that it has; says also whether it had none."""
    mine = select(Checkpoint).where(Checkpoint.job_id == job.id, Checkpoint.step == told.step)
    row = session.scalar(mine)
    new = row is None
    if row is None:
        row = Checkpoint(job_id=job.id, account_id=job.account_id, step=told.step, created_at=now(session))
        session.add(row)
    row.attempt = claim.attempt
    for name in OF_A_STEP:
        setattr(row, name, getattr(told, name))
    session.flush()
    return row, new


def keep_none(session: Session, claim: Claim) -> list[str] | None:
    """List nothing any more, as training begins again; returns useless keys, or None where the claim is over."""
    if held(session, claim) is None:
        return None
    session.execute(delete(Checkpoint).where(Checkpoint.job_id == claim.job_id))
    return _let_go(session, claim, ())


def settle_kept_steps(session: Session, claim: Claim, files: Mapping[int, Artifact]) -> list[str]:
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

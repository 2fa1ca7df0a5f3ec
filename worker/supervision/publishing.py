"""The last step of a job: what its stages stored becomes results, checkpoints and one adapter, in one transaction."""

from __future__ import annotations

from functools import partial

from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Adapter, Artifact, Checkpoint, File, Job, model_name, new_id
from core.jobs import leases, publishing, reports
from core.jobs.leases import Claim
from worker.job_folder import JobFolder
from worker.protocol import Json
from worker.supervision.lease import Lease
from worker.supervision.stage_files import stage_artifacts

RESULT = "result"
PURPOSE = "fine-tune-results"


def publish(job: Job, folder: JobFolder, lease: Lease) -> None:
    """End the job as succeeded, once; raises LeaseLost where the lease is lost or its owner has cancelled meanwhile.

    export/manifest.json says what there is: `results` (in the order of result_files), `checkpoints` and `outcome`.
    """
    manifest = folder.read("export/manifest.json")
    kind = folder.spec()["parameters"]["kind"]
    lease.write(partial(_publish, job=job, kind=kind, **manifest))


def _publish(
    session: Session, *, job: Job, kind: str, outcome: Json, checkpoints: list[Json], results: list[Json]
) -> bool:
    claim = Claim.of(job)
    if job.published_from_job is not None:
        publishing.check_source(session, job)
    stored = {artifact.name: artifact for artifact in stage_artifacts(session, job.id)}
    kept = [_checkpoint(job, row, stored[row["file"]]) for row in checkpoints]
    if not reports.add_checkpoints(session, claim, kept):
        return False
    reports.replace_live(session, claim, [])  # the whole set of samples is there
    adapter = Adapter(
        id=model_name(job),
        job_id=job.id,
        account_id=job.account_id,
        backbone=job.backbone,
        kind=kind,
        attempt=claim.attempt,
        published_step=outcome["published_step"],
    )
    tokens = outcome.get("trained_tokens") if job.published_from_job is None else 0  # nothing was trained for it
    if not leases.finish(session, claim, adapter, outcome, tokens):
        return False
    for result in results:
        _offer(session, job, stored[f"export/{result['file']}"], result.get("format"))
    return True


def _offer(session: Session, job: Job, artifact: Artifact, form: str | None) -> None:
    """Make a stored file one that the account can list and download."""
    file = File(
        id=new_id("file-"),
        account_id=job.account_id,
        filename=artifact.name.rpartition("/")[2],
        purpose=PURPOSE,
        bytes=artifact.bytes,
        sha256=artifact.sha256,
        storage_key=artifact.storage_key,
        status="processed",
        created_at=now(session),
        job_id=job.id,
    )
    session.add(file)
    artifact.kind, artifact.format, artifact.file_id = RESULT, form, file.id


def _checkpoint(job: Job, row: Json, artifact: Artifact) -> Checkpoint:
    return Checkpoint(
        account_id=job.account_id,
        step=row["step"],
        labels=row["labels"],
        metrics=row["metrics"],
        storage_key=artifact.storage_key,
        sha256=artifact.sha256,
        bytes=artifact.bytes,
    )

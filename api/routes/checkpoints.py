"""The kept steps of a job: listed, and published beside the one that the job has named."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.dependencies import AccountDep, AfterDep, CallerDep, Services, ServicesDep
from api.http.pagination import page, plausible, rows_after, unknown_cursor
from api.lookups import find_job
from api.schemas.jobs import CheckpointPage, JobObject
from api.serializers.jobs import checkpoint_object, job_object
from core.accounts import quotas
from core.database.tables import Account, Checkpoint, Job
from core.database.tables.jobs import TERMINAL
from core.errors import Conflict
from core.estimates import course
from core.estimates.queue_wait import present, usual_device
from core.jobs import publishing

LimitDep = Annotated[int, Query(ge=1, le=1000)]
router = APIRouter(prefix="/v1/fine_tuning/jobs/{job_id}/checkpoints", tags=["fine-tuning jobs"])


@router.get("")
def list_checkpoints(
    job_id: str, services: ServicesDep, account: AccountDep, after: AfterDep = None, limit: LimitDep = 10
) -> CheckpointPage:
    """List the kept steps, the last first: the published one, and those it was chosen from.

    They come while the job trains, each as soon as its weights can be downloaded.
    """
    with services.reading.begin() as session:
        job = find_job(session, account, job_id)
        mine = Checkpoint.job_id == job.id
        last = session.execute(select(Checkpoint.step).where(mine, Checkpoint.id == after)).first() if after else None
        if after and last is None:
            raise unknown_cursor()
        statement = select(Checkpoint).where(mine)
        rows, more = rows_after(session, statement, (Checkpoint.step,), last=last, limit=limit, descending=True)
        listed = page((checkpoint_object(row, job) for row in rows), more)
        return CheckpointPage(**dict(listed), ready=job.state in TERMINAL)


@router.post("/{checkpoint_id}/publish")
def publish_checkpoint(job_id: str, checkpoint_id: str, services: ServicesDep, caller: CallerDep) -> JobObject:
    """Publish a kept step as a model of its own, by a new job that trains nothing; the job's own model stays.

    A repeated call is answered with the job that publishes the step already.
    """
    with services.writing.begin() as session:
        account = quotas.locked(session, caller.account)  # first of all locks, as where a job is created
        source = find_job(session, account.id, job_id)
        checkpoint = publishing.publishable(session, source, checkpoint_id if plausible(checkpoint_id) else "")
        job = publishing.made_before(session, source, checkpoint.step)
        if job is None:
            job = _publish(session, services, account, source, checkpoint)
            caller.note(session, "job.publish", job.id, at=job.created_at)
        answer = job_object(session, job)
    services.waker.wake(job.queue)
    return answer


def _publish(session: Session, services: Services, account: Account, source: Job, checkpoint: Checkpoint) -> Job:
    backbone, settings = services.registry.find(source.backbone), services.settings
    if backbone is None:
        message = f"The backbone {source.backbone} is not there any more; the operator has to register it again."
        raise Conflict(message, code="backbone_unavailable")
    estimator = services.estimators.of(session, backbone, usual_device(present(session, settings)))
    foretold = course.of_export(estimator, source.parameters)
    return publishing.create(session, source, checkpoint, settings, account=account, course=foretold)

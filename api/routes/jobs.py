"""OpenAI's fine-tuning jobs: create, show, list, cancel, pause, resume; and erase."""

import re
import secrets
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.dependencies import (
    AccountDep,
    AfterDep,
    Caller,
    CallerDep,
    IdempotencyKeyHeader,
    JobRequestDep,
    RetryHeader,
    Services,
    ServicesDep,
    checked,
)
from api.http.bodies import clean_text, read_optional_json
from api.http.openapi import body_of
from api.http.pagination import page, plausible, rows_after
from api.lookups import check_files, find_backbone, find_job, jobs_of, place_of_erased
from api.schemas.erasures import Deleted
from api.schemas.jobs import JobObject, JobUpdate
from api.schemas.shared import Page
from api.serializers.erasures import deleted_object
from api.serializers.jobs import job_object, job_objects
from core.accounts import quotas
from core.backbones.record import BackboneRecord
from core.database.tables import Account, Job
from core.erasure import request as erasing
from core.errors import InvalidInput
from core.estimates import course, stored_bytes
from core.estimates.estimator import long_texts
from core.estimates.queue_wait import present, usual_device
from core.findings import jobs
from core.jobs import control, creation, events
from core.jobs.idempotency import RepeatedCall
from core.parameters.request import MAX_METADATA, JobRequest

router = APIRouter(prefix="/v1/fine_tuning/jobs", tags=["fine-tuning jobs"])
NOTHING = 'Send what to change: `name`, as in {"name": "My cat"}, or `metadata`; nothing else of a job can be changed.'
MAX_SEED = 2**31 - 1


async def _update(request: Request, services: ServicesDep, account: AccountDep) -> object:
    """Read what is to be changed; it is checked after the job was found, so that strangers learn nothing."""
    return await read_optional_json(request, services.settings)


UpdateDep = Annotated[object, Depends(_update)]


@router.post("", openapi_extra=body_of(JobRequest))
def create_job(
    body: JobRequestDep,
    services: ServicesDep,
    caller: CallerDep,
    key: IdempotencyKeyHeader = None,
    retries: RetryHeader = None,
) -> JobObject:
    """Queue a job; a repetition of an earlier call gets that call's job."""
    backbone = find_backbone(services, body.model)
    content = body.model_dump(mode="json", exclude_unset=True)
    call = RepeatedCall.of(key, retries, content)
    with services.writing.begin() as session:
        # first of all locks: a new row's reference to the account would be one too, in the way of two calls at once
        account = quotas.locked(session, caller.account)
        job = call.first_job(session, account.id)
        if job is None:
            job = _create(session, services, account, body, content, backbone)
            call.remember(session, job)
            caller.note(session, "job.create", job.id, at=job.created_at)
        answer = job_object(session, job)
    services.waker.wake(job.queue)  # only now, when the row is there to be found; it waits for no broker
    return answer


@router.get("")
def list_jobs(
    request: Request,
    services: ServicesDep,
    account: AccountDep,
    after: AfterDep = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    covers: Annotated[bool, Query(description="give each a small picture, in bat.cover")] = False,
) -> Page[JobObject]:
    """List jobs, the newest first; `metadata[key]=value` keeps those that carry it, `metadata=null` those without."""
    wanted = _metadata_filter(request)
    with services.reading.begin() as session:
        statement = jobs_of(account)
        if request.query_params.get("metadata") == "null":
            statement = statement.where(Job.user_metadata.is_(None))
        for name, value in wanted.items():
            statement = statement.where(Job.user_metadata[name].as_string() == value)
        last = _position(session, account, after) if after is not None else None
        rows, more = rows_after(session, statement, (Job.created_at, Job.id), last=last, limit=limit, descending=True)
        return page(job_objects(session, rows, covered=covers), more)


@router.get("/{job_id}")
def retrieve_job(job_id: str, services: ServicesDep, account: AccountDep) -> JobObject:
    """Show one job: where it stands, what "auto" became and why, and what came of it."""
    with services.reading.begin() as session:
        return job_object(session, find_job(session, account, job_id))


@router.post("/{job_id}", openapi_extra=body_of(JobUpdate))
def update_job(job_id: str, services: ServicesDep, caller: CallerDep, body: UpdateDep) -> JobObject:
    """Give a job and its adapter another name, or other metadata, wherever it is; what is not named stays as it is."""
    with services.writing.begin() as session:
        job = find_job(session, caller.account, job_id)
        wanted = checked(JobUpdate, body)
        if not wanted.model_fields_set:
            raise InvalidInput(NOTHING, code="missing_required_parameter", param="name")
        metadata = wanted.applied(job.user_metadata)
        if metadata != job.user_metadata:
            job.user_metadata = metadata
            caller.note(session, "job.update", job.id)
        return job_object(session, job)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, services: ServicesDep, caller: CallerDep) -> JobObject:
    """Cancel a waiting job at once, a running one after its present step."""
    return _ordered(services, caller, job_id, control.cancel, "job.cancel")


@router.post("/{job_id}/pause")
def pause_job(job_id: str, services: ServicesDep, caller: CallerDep) -> JobObject:
    """Pause a queued job at once; a running one saves where it stands after its present step, and frees its worker."""
    return _ordered(services, caller, job_id, control.pause, "job.pause")


@router.post("/{job_id}/resume")
def resume_job(job_id: str, services: ServicesDep, caller: CallerDep) -> JobObject:
    """Queue a paused job again; it goes on from the step at which it stopped."""
    answer = _ordered(services, caller, job_id, control.resume, "job.resume")
    services.waker.wake(services.settings.queue)
    return answer


@router.delete("/{job_id}")
def delete_job(job_id: str, services: ServicesDep, caller: CallerDep) -> Deleted:
    """Erase a job and all that came of it, for good; one that runs is cancelled first."""
    with services.writing.begin() as session:
        job = find_job(session, caller.account, job_id)
        erasure = erasing.request(session, caller.account, "job", job.id)
        caller.note(session, "job.delete", job.id)
    return deleted_object(erasure, "fine_tuning.job", completed=services.erase_now(erasure.id))


def _ordered(
    services: Services, caller: Caller, job_id: str, order: Callable[[Session, Job], bool], action: str
) -> JobObject:
    """Give an order as the owner; returns the job as it then is. What changes nothing is no news for the audit log."""
    with services.writing.begin() as session:
        job = find_job(session, caller.account, job_id)
        if order(session, job):
            caller.note(session, action, job.id)
        session.flush()
        session.refresh(job)
        return job_object(session, job)


def _position(session: Session, account: str, job_id: str) -> tuple[float, str]:
    statement = select(Job.created_at, Job.id).where(Job.account_id == account, Job.id == job_id)
    row = session.execute(statement).one_or_none() if plausible(job_id) else None
    if row is None:
        return place_of_erased(session, account, job_id)
    return row.created_at, row.id


def _metadata_filter(request: Request) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata["):
            continue
        match = re.fullmatch(r"metadata\[(.{1,64})\]", name, re.DOTALL)
        if match is None:
            words = "A metadata filter is metadata[key]=value, with a key of 1 to 64 characters."
            raise InvalidInput(words, code="invalid_filter", param="metadata")
        # a quote or a backslash would have to be escaped differently in each database's JSON paths
        if not clean_text(name + value) or set('"\\') & set(name):
            raise InvalidInput("A metadata filter holds characters that cannot be searched for.", code="invalid_filter")
        wanted[match[1]] = value
    if len(wanted) > MAX_METADATA:
        words = f"At most {MAX_METADATA} metadata filters are taken, since no job has more pairs; leave some out."
        raise InvalidInput(words, code="invalid_filter", param="metadata")
    return wanted


def _create(
    session: Session,
    services: Services,
    account: Account,
    body: JobRequest,
    content: dict[str, Any],
    backbone: BackboneRecord,
) -> Job:
    training, data = check_files(session, services, account.id, body, backbone)
    job = Job(
        account_id=account.id,
        backbone=backbone.id,
        request=content,
        training_files=training,
        suffix=body.suffix,
        seed=body.seed if body.seed is not None else secrets.randbelow(MAX_SEED),
        validation_file=body.validation_file,
        user_metadata=body.metadata,
        queue=services.settings.queue,
    )
    bat, settings = body.bat_or_defaults(), services.settings
    stores = stored_bytes.expected(session, backbone, bat, settings.job_bytes)
    device = usual_device(present(session, settings))
    estimator, defaults = services.estimators.of(session, backbone, device), services.job_defaults(device)
    job.course = course.planned(estimator, defaults, body, job.seed, data.count or 0, data.sizes)
    creation.create(session, job, settings, account=account, stores=stores)
    long = long_texts(session, backbone, bat, data.sizes, device)
    for finding in [*jobs.of(data, backbone, bat), *([long] if long is not None else [])]:
        events.tell(session, job, finding, actor="api")
    return job

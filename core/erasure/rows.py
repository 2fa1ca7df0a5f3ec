"""Delete the rows of what is erased, so many at a time that nobody else waits long to write.

Each function deletes up to about `limit` rows in the caller's transaction and says how many; after 0 none are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, literal_column, select
from sqlalchemy.orm import Session

from core.accounts import stored_bytes
from core.database.tables import (
    Account,
    Adapter,
    ApiKey,
    Artifact,
    Checkpoint,
    File,
    Idempotency,
    Job,
    JobEvent,
    Metric,
    Reservation,
    Table,
    Usage,
    WebhookEndpoint,
    WebhookEvent,
)
from core.webhooks import endpoints

LIMIT = 250  # rows a transaction: some hundredths of a second
EVENTS = 20  # webhook events a transaction: each has up to ten deliveries, with their attempts
ADDRESSES = {"sqlite": "rowid", "postgresql": "ctid"}  # of a row, by which a statement can delete only some
COVER = "cover"  # in the outcome of a job: a picture that its adapter has drawn
PARTS = (JobEvent, Metric, Checkpoint, Artifact, File, Adapter, Idempotency)
HOLDINGS = (File, Idempotency, Usage, Reservation, ApiKey)


def of_jobs(session: Session, job_ids: Sequence[str], limit: int = LIMIT) -> int:
    """Delete rows of jobs, the jobs' own last."""
    rows = endpoints.forget_events(session, WebhookEvent.job_id.in_(job_ids))
    for table in PARTS:
        if rows < limit:
            rows += delete_some(session, table, table.job_id.in_(job_ids), limit - rows)
    return rows + delete_some(session, Job, Job.id.in_(job_ids)) if rows < limit else rows


def of_files(session: Session, file_ids: Sequence[str]) -> int:
    """Delete the rows of files."""
    return delete_some(session, File, File.id.in_(file_ids))


def of_models(session: Session, job_ids: Sequence[str]) -> int:
    """Delete the rows of the files of models that these jobs made; the jobs stay as records. It's not many rows."""
    deleted = 0
    for job_id in job_ids:
        job = session.get(Job, job_id)
        if job is not None and COVER in (job.outcome or {}):
            job.outcome = {name: value for name, value in (job.outcome or {}).items() if name != COVER}
        with stored_bytes.counting(session, job_id):
            deleted += sum(
                delete_some(session, table, table.job_id == job_id) for table in (File, Artifact, Checkpoint)
            )
    return deleted


def of_accounts(session: Session, account_ids: Sequence[str], limit: int = LIMIT) -> int:
    """Delete rows of accounts whose jobs are gone, their own rows last."""
    events = select(WebhookEvent.id).where(WebhookEvent.account_id.in_(account_ids)).limit(EVENTS)
    if ids := session.scalars(events).all():
        return endpoints.forget_events(session, WebhookEvent.id.in_(ids))
    rows = 0
    for endpoint in session.scalars(select(WebhookEndpoint.id).where(WebhookEndpoint.account_id.in_(account_ids))):
        endpoints.remove(session, endpoint)
        rows += 1
    for table in HOLDINGS:
        if rows < limit:
            rows += delete_some(session, table, table.account_id.in_(account_ids), limit - rows)
    return rows or delete_some(session, Account, Account.id.in_(account_ids))


def delete_some(session: Session, table: type[Table], which: ColumnElement[bool], limit: int | None = None) -> int:
    """Delete up to `limit` rows, or all; returns how many."""
    if limit is not None:
        address: ColumnElement[Any] = literal_column(ADDRESSES[session.get_bind().dialect.name])
        which = address.in_(select(address).select_from(table).where(which).limit(limit).correlate(None))
    result = session.execute(delete(table).where(which).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount

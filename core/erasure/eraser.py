"""Erase for good what a request has hidden, with its objects and rows, until a receipt can be signed.

`advance` does what is left, as often as it takes: every step may be repeated, so a crash between two of them costs
nothing. A dispatcher asks again until it is done, and for a while after that looks whether a late writer has put
something back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, delete, func, select
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import stored_bytes
from core.database import counters
from core.database.engine import now
from core.database.tables import (
    Account,
    Adapter,
    ApiKey,
    Artifact,
    Checkpoint,
    Erasure,
    File,
    Idempotency,
    Job,
    JobEvent,
    Metric,
    Table,
    Usage,
    WebhookEvent,
)
from core.database.tables.jobs import ACTIVE
from core.erasure.receipts import receipt, sign
from core.keys.keyring import Keyring
from core.storage.interface import Storage
from core.storage.keys import account_prefix, edits_prefix, file_key, job_prefix
from core.webhooks import endpoints

LOOK_AGAIN_SECONDS = 60.0
WATCHED_SECONDS = 3600.0  # so long after the end a late writer is looked for
BATCH = 20


@dataclass(frozen=True)
class Eraser:
    """Does what erasures ask for; the newest of the keys signs the receipts."""

    sessions: sessionmaker[Session]
    storage: Storage
    keyring: Keyring

    def advance(self, erasure_id: str) -> bool:
        """Take an erasure as far as it goes now; True when it is done. Raises StorageUnavailable."""
        with self.sessions.begin() as session:
            erasure = session.get_one(Erasure, erasure_id)
            erasure.tried_at = now(session)
            prefixes = _prefixes(session, erasure)
            if erasure.done_at is None and _busy(session, erasure):
                return False
        objects = sum(self.storage.delete_prefix(prefix) for prefix in prefixes)
        if any(self.storage.keys(prefix) for prefix in prefixes):
            return False  # something was written meanwhile
        with self.sessions.begin() as session:
            erasure = session.get_one(Erasure, erasure_id, with_for_update=True)
            erasure.objects += objects
            if erasure.done_at is None:
                erasure.rows += _delete_rows(session, erasure)
                erasure.done_at = now(session)
                erasure.signature = sign(receipt(erasure), self.keyring)
                counters.add(session, counters.ERASURES)
            return True

    def round(self) -> None:
        """Advance some of the erasures that are not done, or were done lately."""
        with self.sessions() as session:
            at = now(session)
            tried = Erasure.tried_at.is_(None) | (Erasure.tried_at < at - LOOK_AGAIN_SECONDS)
            open_ = Erasure.done_at.is_(None)
            lately = (Erasure.done_at > at - WATCHED_SECONDS) & tried
            ids = session.scalars(
                select(Erasure.id).where(open_ | lately).order_by(Erasure.tried_at).limit(BATCH)
            ).all()
        for erasure_id in ids:
            self.advance(erasure_id)


def _prefixes(session: Session, erasure: Erasure) -> list[str]:
    """Return where everything of the thing is stored."""
    if erasure.kind == "file":
        file = session.get(File, erasure.target)
        # an edit that was cut off may have left an older or a newer version
        versions = {place(erasure.account_id, erasure.target) for place in (file_key, edits_prefix)}
        return sorted(versions if file is None else versions | {file.storage_key})
    if erasure.kind == "account":
        return [account_prefix(erasure.target)]
    if erasure.kind == "job":
        return [job_prefix(erasure.account_id, erasure.target)]
    adapter = session.get(Adapter, erasure.target)
    return [job_prefix(erasure.account_id, adapter.job_id)] if adapter is not None else []


def _busy(session: Session, erasure: Erasure) -> bool:
    """Tell whether a worker may still write for the thing."""
    which = {"job": Job.id == erasure.target, "account": Job.account_id == erasure.target}.get(erasure.kind)
    if which is None:
        return False
    return bool(session.scalar(select(func.count()).select_from(Job).where(which, Job.state.in_(ACTIVE))))


def _delete_rows(session: Session, erasure: Erasure) -> int:
    """Delete all rows of the thing; of a model only its files' rows, since the job stays as a record."""
    target = erasure.target
    if erasure.kind == "file":
        return _delete(session, File, File.id == target)
    if erasure.kind == "model":
        job_id = session.scalar(select(Adapter.job_id).where(Adapter.id == target))
        if job_id is None:
            return 0
        with stored_bytes.counting(session, job_id):
            return sum(_delete(session, table, table.job_id == job_id) for table in (File, Artifact, Checkpoint))
    if erasure.kind == "job":
        return _delete_jobs(session, Job.id == target)
    rows = endpoints.forget_account(session, target)  # first, since it locks events and endpoints before deliveries
    rows += _delete_jobs(session, Job.account_id == target)
    rows += sum(_delete(session, table, table.account_id == target) for table in (File, Idempotency, Usage, ApiKey))
    return rows + _delete(session, Account, Account.id == target)


def _delete_jobs(session: Session, which: ColumnElement[bool]) -> int:
    parts = (JobEvent, Metric, Checkpoint, Artifact, File, Adapter, Idempotency)
    rows = endpoints.forget_events(session, WebhookEvent.job_id.in_(select(Job.id).where(which)))
    rows += sum(_delete(session, table, table.job_id.in_(select(Job.id).where(which))) for table in parts)
    return rows + _delete(session, Job, which)


def _delete(session: Session, table: type[Table], which: ColumnElement[bool]) -> int:
    result = session.execute(delete(table).where(which).execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount

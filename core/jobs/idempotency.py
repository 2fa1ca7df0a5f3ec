"""A create call that was sent before: which job it has made, whichever of the two arrives first."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Idempotency, Job
from core.errors import Conflict, InvalidInput
from core.jobs import idempotency

REPEAT_SECONDS = 600.0
REPEATS_LOOKED_AT = 50
LATE_SECONDS = 60.0  # a call that was given up for lost may still arrive for so long
OVERTAKEN = "\1overtaken "  # no key that is sent begins so


@dataclass(frozen=True)
class RepeatedCall:
    """How a create call may be recognised: by its key, or by the count of retries that OpenAI's clients send."""

    key: str | None
    retries: int | None
    sha256: str

    @classmethod
    def of(cls, key: str | None, retries: str | None, content: Mapping[str, Any]) -> "RepeatedCall":
        """Check the headers of a call with this body."""
        if key is not None and re.fullmatch(r"[\x20-\x7e]{1,255}", key) is None:
            raise InvalidInput(
                "Idempotency-Key takes 1 to 255 printable ASCII characters.", code="invalid_idempotency_key"
            )
        counted = int(retries) if retries is not None and re.fullmatch("[0-9]{1,3}", retries) else None
        return cls(key, counted, _sha256(content))

    def first_job(self, session: Session, account: str) -> Job | None:
        """Return the job that this call has made before; the account must be locked, so that calls take turns."""
        if self.key is not None:
            row = session.get(Idempotency, (account, self.key))
            fresh = row is not None and row.created_at > now(session) - idempotency.IDEMPOTENCY_SECONDS
            return _alive(session, row) if row is not None and fresh and row.request_sha256 == self.sha256 else None
        if self.retries is None:
            return None
        return self._recent(session, account) if self.retries else self._overtaken(session, account)

    def remember(self, session: Session, job: Job) -> None:
        """Note a job that was made by a repetition, since the first call never came, or comes late."""
        if self.key is None and self.retries:
            session.merge(
                Idempotency(
                    account_id=job.account_id,
                    key=OVERTAKEN + self.sha256,
                    request_sha256=self.sha256,
                    job_id=job.id,
                    created_at=job.created_at,
                )
            )

    def _recent(self, session: Session, account: str) -> Job | None:
        mine = (Job.account_id == account) & Job.deleted_at.is_(None) & (Job.created_at > now(session) - REPEAT_SECONDS)
        jobs = session.scalars(select(Job).where(mine).order_by(Job.created_at.desc()).limit(REPEATS_LOOKED_AT))
        return next((job for job in jobs if _sha256(job.request) == self.sha256), None)

    def _overtaken(self, session: Session, account: str) -> Job | None:
        row = session.get(Idempotency, (account, OVERTAKEN + self.sha256))
        if row is None:
            return None
        session.delete(row)  # it explains one call: the next one wants a job of its own
        late = row.created_at > now(session) - LATE_SECONDS
        return _alive(session, row) if late else None


def _alive(session: Session, row: Idempotency) -> Job | None:
    """Return the job that a call has made, unless its owner has deleted it since."""
    job = session.get(Job, row.job_id) if row.job_id is not None else None
    return job if job is not None and job.deleted_at is None else None


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


IDEMPOTENCY_SECONDS = 24 * 3600


def first_answer(session: Session, account_id: str, key: str, request_sha256: str, at: float) -> Job | None:
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    deleted = select(Job.id).where(Job.id == Idempotency.job_id, Job.deleted_at.is_not(None)).exists()
    session.execute(
        delete(Idempotency)
        .where(Idempotency.account_id == account_id, Idempotency.key == key)
        .where((Idempotency.created_at <= at - IDEMPOTENCY_SECONDS) | deleted)
        .execution_options(synchronize_session=False)
    )
    # the insert takes the row's lock: a second caller with this key waits here for the first one's commit
    session.execute(
        insert(Idempotency)
        .values(account_id=account_id, key=key, request_sha256=request_sha256, created_at=at)
        .on_conflict_do_nothing()
    )
    row = session.get_one(Idempotency, (account_id, key), populate_existing=True)
    if row.request_sha256 != request_sha256:
        raise Conflict(
            "This Idempotency-Key was used for another request. Send a new key with a new request.",
            code="idempotency_mismatch",
            param="Idempotency-Key",
        )
    return session.get(Job, row.job_id) if row.job_id else None

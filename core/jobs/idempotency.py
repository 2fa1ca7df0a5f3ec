"""A create call that is sent again gets the job that it has made before, whichever of the two arrives first.

A call is known by its Idempotency-Key; without one, by its body and the count of retries that OpenAI's clients send.
Whoever creates a job asks `RepeatedCall.first_job`, makes one where there is none, and tells `RepeatedCall.remember`:
all in one transaction that has locked the account, so that calls take turns.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import Idempotency, Job
from core.errors import Conflict, InvalidInput

KEY_SECONDS = 24 * 3600.0  # a key is remembered so long
REPEAT_SECONDS = 600.0  # a client sends a call again within this time
LATE_SECONDS = 60.0  # a call that was given up for lost may still arrive for so long
MAX_COMPARED_JOBS = 50  # of an account's newest jobs
OVERTAKEN = "\1overtaken "  # begins the key of a first call that its repetition has overtaken; none that is sent does


@dataclass(frozen=True)
class RepeatedCall:
    """What a create call may be recognised by: its key, or the hash of its body and the number of this try."""

    key: str | None
    retries: int | None
    sha256: str

    @classmethod
    def of(cls, key: str | None, retries: str | None, content: Mapping[str, Any]) -> RepeatedCall:
        """Read the two headers of a call with this body; raises InvalidInput for a key that is none."""
        if key is not None and re.fullmatch(r"[\x20-\x7e]{1,255}", key) is None:
            raise InvalidInput(
                "Idempotency-Key takes 1 to 255 printable ASCII characters.", code="invalid_idempotency_key"
            )
        counted = int(retries) if retries is not None and re.fullmatch("[0-9]{1,3}", retries) else None
        return cls(key, counted, _sha256(content))

    def first_job(self, session: Session, account_id: str) -> Job | None:
        """Return the job that this call has made before; None where it has made none, or that was deleted since.

        Raises Conflict where the key was used for another body.
        """
        if self.key is not None:
            return self._made_under(session, account_id, self.key)
        if self.retries is None:
            return None
        return self._recent(session, account_id) if self.retries else self._overtaken(session, account_id)

    def remember(self, session: Session, job: Job) -> None:
        """Note the job that this call has now made, for calls that come later."""
        if self.key is not None:
            key = self.key
        elif self.retries:  # the first call never came, or comes late
            key = OVERTAKEN + self.sha256
        else:
            return
        _forget(session, job.account_id, key)
        session.add(
            Idempotency(
                account_id=job.account_id, key=key, request_sha256=self.sha256, job_id=job.id, created_at=job.created_at
            )
        )

    def _made_under(self, session: Session, account_id: str, key: str) -> Job | None:
        noted = session.get(Idempotency, (account_id, key))
        job = _noted_job(session, noted, KEY_SECONDS)
        if noted is not None and job is not None and noted.request_sha256 != self.sha256:
            raise Conflict(
                "This Idempotency-Key was used for another request. Send a new key with a new request.",
                code="idempotency_mismatch",
                param="Idempotency-Key",
            )
        return job

    def _recent(self, session: Session, account_id: str) -> Job | None:
        """Return the newest job of the last minutes with the same body."""
        since = now(session) - REPEAT_SECONDS
        mine = (Job.account_id == account_id) & Job.deleted_at.is_(None) & (Job.created_at > since)
        mine &= Job.published_from_job.is_(None)  # such a job has the request of another, and was not asked for by it
        jobs = session.scalars(select(Job).where(mine).order_by(Job.created_at.desc()).limit(MAX_COMPARED_JOBS))
        return next((job for job in jobs if _sha256(job.request) == self.sha256), None)

    def _overtaken(self, session: Session, account_id: str) -> Job | None:
        """Return the job that a repetition of this call has made shortly before the call itself arrived."""
        key = OVERTAKEN + self.sha256
        noted = session.get(Idempotency, (account_id, key))
        job = _noted_job(session, noted, LATE_SECONDS)
        if noted is not None:
            _forget(session, account_id, key)  # it explains one call: the next one wants a job of its own
        return job


def _noted_job(session: Session, noted: Idempotency | None, seconds: float) -> Job | None:
    """Return the job of a note that is not older, unless its owner has deleted it since."""
    if noted is None or noted.job_id is None or noted.created_at <= now(session) - seconds:
        return None
    job = session.get(Job, noted.job_id)
    return job if job is not None and job.deleted_at is None else None


def _forget(session: Session, account_id: str, key: str) -> None:
    # by a statement, which does not mind that the note of a deleted job is erased at this moment
    session.execute(delete(Idempotency).where(Idempotency.account_id == account_id, Idempotency.key == key))


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

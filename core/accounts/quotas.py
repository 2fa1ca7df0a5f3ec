"""What an account may have at once and in all: jobs, jobs a minute, bytes, GPU seconds.

Each check wants the account's row locked, so that parallel calls of one account are counted one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from core.accounts import reservations, usage
from core.database.engine import ROWS
from core.database.tables import Account, Job
from core.database.tables.jobs import ACTIVE
from core.errors import QuotaExceeded, RateLimited, Unauthenticated
from core.settings import Settings

MINUTE = 60.0


# built once, because every new job asks it
_ACTIVE = select(ROWS).where(Job.account_id == bindparam("account_id"), Job.state.in_(sorted(ACTIVE)))


@dataclass(frozen=True)
class JobNeeds:
    """What is set aside for a new job: GPU seconds, and bytes."""

    seconds: float
    bytes: int


def check_new_job(session: Session, account: Account, settings: Settings, needs: JobNeeds, at: float) -> None:
    """Raise RateLimited or QuotaExceeded where the account may not have one more job that may need so much.

    The account's row must be locked; `at` is the database's time.
    """
    _check_rate(account, settings, at)
    active = session.execute(_ACTIVE, {"account_id": account.id}).scalar_one()
    if active >= settings.active_job_limit:
        raise RateLimited(
            f"{active} jobs are queued, running or paused, and {settings.active_job_limit} may be at once. "
            "Wait for one to end, or cancel one.",
            code="active_job_limit",
            retry_after=60.0,
        )
    limit = account.gpu_seconds_limit or settings.account_gpu_seconds
    if limit is not None and (committed := usage.committed(session, account.id)) + needs.seconds > limit:
        raise QuotaExceeded(
            f"The job may need {needs.seconds:.0f} GPU seconds; of {limit:.0f} in 30 days {committed:.0f} are spent "
            "or set aside for active jobs. Wait for those to end, or ask the operator for more.",
            code="insufficient_quota",
        )
    bytes_left(session, account, settings).check(needs.bytes, "The job may store")


def count_new_job(account: Account, at: float) -> None:
    """Count a job of the locked account that is let in; it counts for a minute whatever becomes of it."""
    times = _lately(account, at)
    account.job_times = times | {str(int(at)): times.get(str(int(at)), 0) + 1}


def _check_rate(account: Account, settings: Settings, at: float) -> None:
    times = _lately(account, at)
    if (recent := sum(times.values())) >= settings.jobs_per_minute:
        raise RateLimited(
            f"{recent} jobs were created within a minute, and {settings.jobs_per_minute} may be.",
            code="rate_limit_exceeded",
            retry_after=max(1.0, min(map(int, times)) + 1 + MINUTE - at),
        )


def _lately(account: Account, at: float) -> dict[str, int]:
    """Return how many jobs were created in which second of the last minute; a second counts until it is all over."""
    return {second: count for second, count in account.job_times.items() if int(second) + 1 + MINUTE > at}


@dataclass(frozen=True)
class BytesLeft:
    """What an account has of its bytes; a limit of None is none."""

    limit: int | None
    held: int
    aside: int

    @property
    def left(self) -> int | None:
        """Return how many more there may be."""
        return None if self.limit is None else self.limit - self.held - self.aside

    def check(self, amount: int, what: str = "This would take") -> None:
        """Raise QuotaExceeded where so many more bytes would be too many."""
        if self.left is not None and amount > self.left:
            aside = f", and {self.aside:,} are set aside for uploads and jobs under way" if self.aside else ""
            raise QuotaExceeded(
                f"{what} {amount:,} bytes; {self.held:,} of {self.limit:,} are in use{aside}. "
                "Delete files, models or jobs.",
                code="insufficient_quota",
            )


def bytes_left(session: Session, account: Account, settings: Settings, *, apart_from: str | None = None) -> BytesLeft:
    """Return what a locked account has of its bytes; one reservation may be left out."""
    aside = reservations.of_quota(session, account.id, apart_from)
    return BytesLeft(account.bytes_limit or settings.account_bytes, account.stored_bytes, aside)


def locked(session: Session, account_id: str) -> Account:
    """Return the account, locked until the transaction ends; Unauthenticated where it was erased meanwhile."""
    account = session.scalar(
        select(Account).where(Account.id == account_id).with_for_update().execution_options(populate_existing=True)
    )
    if account is None or account.erased_at is not None:
        raise Unauthenticated("The account is erased.", code="invalid_api_key")
    return account

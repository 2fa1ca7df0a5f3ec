"""The caller's own account: what it has and may have, its erasures with their receipts, and its end."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from sqlalchemy import func, select

from api.dependencies import AccountDep, AdministratorDep, AfterDep, ServicesDep
from api.http.pagination import page, plausible, rows_after, unknown_cursor
from api.schemas.accounts import AccountObject
from api.schemas.erasures import Deleted, ErasureObject
from api.schemas.shared import Page
from api.serializers.erasures import deleted_object, erasure_object
from core.accounts import quotas, usage
from core.database.tables import Account, Erasure, Job
from core.database.tables.jobs import ACTIVE
from core.erasure import request as erasing
from core.errors import NotFound

router = APIRouter(prefix="/v1", tags=["account"])


@router.get("/account")
def show_account(request: Request, services: ServicesDep, account: AccountDep) -> AccountObject:
    """Show the limits of the account and how much of them is used; GPU seconds include those set aside."""
    settings = services.settings
    with services.reading.begin() as session:
        row = session.get_one(Account, account)
        active = select(func.count()).where(Job.account_id == account, Job.state.in_(ACTIVE))
        return AccountObject(
            id=row.id,
            name=row.name,
            created_at=int(row.created_at),
            stored_bytes=row.stored_bytes,
            bytes_limit=row.bytes_limit or settings.account_bytes,
            gpu_seconds=usage.committed(session, account),
            gpu_seconds_used=usage.spent(session, account),
            gpu_seconds_limit=row.gpu_seconds_limit or settings.account_gpu_seconds,
            active_jobs=session.scalar(active) or 0,
            active_job_limit=settings.active_job_limit,
            jobs_per_minute=settings.jobs_per_minute,
            requests_per_minute=settings.requests_per_minute,
            scopes=sorted(request.state.access.scopes),
        )


@router.delete("/account")
def delete_account(services: ServicesDep, caller: AdministratorDep) -> Deleted:
    """Erase the whole account: its keys open nothing from now on, its jobs end, and everything of it goes."""
    with services.writing.begin() as session:
        quotas.locked(session, caller.account)
        erasure = erasing.request(session, caller.account, "account", caller.account)
        caller.note(session, "account.delete", caller.account)
    return deleted_object(erasure, "account", completed=services.erase_now(erasure.id))


@router.get("/erasures")
def list_erasures(
    services: ServicesDep, account: AccountDep, after: AfterDep = None, limit: Annotated[int, Query(ge=1, le=1000)] = 20
) -> Page[ErasureObject]:
    """List what the account has erased, the newest first."""
    with services.reading.begin() as session:
        mine = select(Erasure).where(Erasure.account_id == account)
        last = None
        if after is not None:
            last = session.execute(
                select(Erasure.requested_at, Erasure.id).where(Erasure.account_id == account, Erasure.id == after)
            ).one_or_none()
            if last is None:
                raise unknown_cursor()
        order = (Erasure.requested_at, Erasure.id)
        rows, more = rows_after(session, mine, order, last=last, limit=limit, descending=True)
        return page(map(erasure_object, rows), more)


@router.get("/erasures/{erasure_id}")
def retrieve_erasure(erasure_id: str, services: ServicesDep, account: AccountDep) -> ErasureObject:
    """Show how far an erasure is; once it is completed, this is its signed receipt."""
    with services.reading.begin() as session:
        erasure = session.get(Erasure, erasure_id) if plausible(erasure_id) else None
        if erasure is None or erasure.account_id != account:
            raise NotFound("There is no such erasure.", code="erasure_not_found", param="erasure_id")
        return erasure_object(erasure)


@router.get("/accounts/{account_id}/erasure")
def retrieve_account_erasure(account_id: str, services: ServicesDep) -> ErasureObject:
    """Show how far the erasure of a whole account is: without a key, since the account has none any more."""
    with services.reading.begin() as session:
        mine = (Erasure.kind == "account") & (Erasure.target == account_id)
        erasure = session.scalar(select(Erasure).where(mine)) if plausible(account_id) else None
        if erasure is None:
            raise NotFound("No account of this id was erased.", code="erasure_not_found", param="account_id")
        return erasure_object(erasure)

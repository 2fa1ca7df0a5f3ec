"""`albatross accounts`: list, limit, erase; `albatross erasures`: check receipts; `albatross audit`: who did what."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import InvalidInput, NotFound
from core.runtime.command_line import CommandLine, Data, amount, read_settings

if TYPE_CHECKING:  # the other commands start faster without a database
    from sqlalchemy.orm import Session

    from core.database.tables import Account
    from core.settings import Settings

DAY = 86_400.0
HOUR = 3_600.0
RECEIPT = ("id", "kind", "target", "account", "requested_at", "completed_at", "objects", "rows")
AUDIT_COLUMNS = ("at", "account_id", "key_id", "action", "target", "address", "request_id")

COMMANDS = CommandLine()
ACCOUNTS = CommandLine("List accounts, limit them, erase them.")
ERASURES = CommandLine("Check receipts of erasures.")
COMMANDS.add_typer(ACCOUNTS, name="accounts")
COMMANDS.add_typer(ERASURES, name="erasures")
Name = Annotated[str, typer.Argument(metavar="NAME", help="name or id of the account")]


@contextmanager
def database(settings: "Settings") -> Iterator["Session"]:
    """Open a session over the database, which is made or migrated first; what is written is there at its end."""
    from core.database.engine import connect, sessions
    from core.database.migrations import migrate
    from core.runtime import data_folder

    data_folder.claim(settings)
    migrate(settings.database)
    engine = connect(settings.database)
    with sessions(engine).begin() as session:
        yield session
    engine.dispose()


def account_named(session: "Session", name: str) -> "Account":
    """Return the account with this name or id; raises NotFound."""
    from sqlalchemy import select

    from core.database.tables import Account

    known = (Account.name == name) | (Account.id == name)
    account = session.scalar(select(Account).where(known, Account.erased_at.is_(None)))
    if account is None:
        raise NotFound(f"There is no account {name}; see `albatross accounts list`.", code="account_not_found")
    return account


def account_of_job(session: "Session", job: str) -> "Account":
    """Return the account that a job belongs to; raises NotFound."""
    from core.database.tables import Account, Job

    found = session.get(Job, job)
    if found is None:
        raise NotFound(f"There is no job {job} in this service's database.", code="job_not_found")
    return session.get_one(Account, found.account_id)


def day(at: float) -> str:
    """Write a time in seconds since 1970 as UTC, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))


@ACCOUNTS.explained("list", "albatross accounts list")
def list_accounts(data: Data = None) -> None:
    """List the accounts with what they use and what they may use."""
    settings = read_settings(data=data)
    from sqlalchemy import select

    from core.accounts import usage
    from core.database.tables import Account

    with database(settings) as session:
        for account in session.scalars(select(Account).order_by(Account.created_at)):
            stored = account.stored_bytes / 1e9
            hours = usage.committed(session, account.id) / HOUR
            most, longest = account.bytes_limit or settings.account_bytes, account.gpu_seconds_limit
            longest = longest or settings.account_gpu_seconds
            room = f"of {most / 1e9:g}" if most else "(no limit)"
            time_left = f"of {longest / HOUR:g}" if longest else "(no limit)"
            state = "  being erased" if account.erased_at else ""
            print(f"{account.id}  {account.name:20} {stored:.2f} {room} GB  {hours:.1f} {time_left} GPU hours{state}")


@ACCOUNTS.explained("limit", "albatross accounts limit alice --gigabytes 50 --gpu-hours 100")
def limit_account(
    name: Name,
    gigabytes: Annotated[float | None, typer.Option(metavar="GB", callback=amount, help="that it may store")] = None,
    gpu_hours: Annotated[
        float | None, typer.Option(metavar="HOURS", callback=amount, help="that it may spend in 30 days")
    ] = None,
    data: Data = None,
) -> None:
    """Give an account limits of its own; 0 returns it to the service's default."""
    settings = read_settings(data=data)
    from core.accounts import audit

    with database(settings) as session:
        account = account_named(session, name)
        if gigabytes is not None:
            account.bytes_limit = round(gigabytes * 1e9) or None
        if gpu_hours is not None:
            account.gpu_seconds_limit = gpu_hours * HOUR or None
        if session.is_modified(account):
            audit.record(session, account.id, "account.limit", account.id)


@ACCOUNTS.explained("erase", "albatross accounts erase alice --yes")
def erase_account(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="really; there is no way back")] = False,
    data: Data = None,
) -> None:
    """Erase an account with all that it has; the service does it within minutes, and keeps a receipt."""
    settings = read_settings(data=data)
    from core.accounts import audit
    from core.erasure import request

    if not yes:
        raise InvalidInput(f"This erases all that {name} has, for good. Say --yes to do it.", code="not_sure")
    with database(settings) as session:
        account = account_named(session, name)
        started = request.request(session, account.id, "account", account.id)
        audit.record(session, account.id, "account.delete", account.id)
    print(
        f"{started.id}: the dispatcher erases {account.id}; GET /v1/accounts/{account.id}/erasure shows how far it is."
    )


@ERASURES.explained("verify", "albatross erasures verify receipt.json")
def verify_receipt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="as GET /v1/erasures/{id} shows it")], data: Data = None
) -> None:
    """Tell whether this service has signed the receipt in a JSON file. Exits with 1 where it has not."""
    settings = read_settings(data=data)
    from core.erasure.receipts import genuine

    try:
        told = json.loads(file.read_text())
        signature = str(told.pop("signature"))
        content = {name: told[name] for name in RECEIPT} | {"looked_at": told.get("looked_at", [])}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{file} holds no receipt.", code="invalid_receipt") from error
    if not genuine(content, signature, settings.keyring):
        print("NOT genuine: this service has not signed these words.", file=sys.stderr)
        raise typer.Exit(1)
    print(f"Genuine: {content['kind']} {content['target']} was erased at {day(content['completed_at'])}.")


@COMMANDS.explained("audit", "albatross audit --account alice --days 7")
def audit(
    account: Annotated[str | None, typer.Option(metavar="NAME", help="only of this account; name or id")] = None,
    days: Annotated[float, typer.Option(metavar="DAYS", callback=amount, help="how far back")] = 30,
    data: Data = None,
) -> None:
    """Show who did what and when, the newest last, one JSON object a line; never any content."""
    settings = read_settings(data=data)
    from sqlalchemy import select

    from core.database.engine import now
    from core.database.tables import Account, Audit

    with database(settings) as session:
        rows = select(Audit).where(Audit.at > now(session) - days * DAY).order_by(Audit.at, Audit.id)
        if account:
            named = select(Account.id).where(Account.name == account).scalar_subquery()
            rows = rows.where((Audit.account_id == account) | (Audit.account_id == named))
        for row in session.scalars(rows):
            print(json.dumps({name: getattr(row, name) for name in AUDIT_COLUMNS}))

"""The commands about people: keys, accounts, receipts of erasures, the audit log."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli.commands import Subparsers, add_command, add_group
from core.accounts.api_keys import SCOPES, USUAL
from core.errors import InvalidInput, NotFound
from core.settings import Settings

DAY = 86_400.0
HOUR = 3_600.0
RECEIPT = ("id", "kind", "target", "account", "requested_at", "completed_at", "objects", "rows")

if TYPE_CHECKING:  # the other commands start faster without a database
    from sqlalchemy.orm import Session

    from core.database.tables import Account


def add(commands: Subparsers) -> None:
    """Add the groups keys, accounts, erasures, and the command audit."""
    _add_keys(commands)
    _add_accounts(commands)
    erasures = add_group(commands, "erasures", "Check receipts of erasures.")
    words = "Tell whether this service has signed the receipt in a JSON file (as GET /v1/erasures/{id} shows it)."
    verify = add_command(erasures, "verify", words, ("albatross erasures verify receipt.json",), _verify)
    verify.add_argument("file", type=Path, metavar="FILE")
    words = "Show who did what and when, the newest last, one JSON object a line; never any content."
    audit = add_command(commands, "audit", words, ("albatross audit --account alice --days 7",), _audit)
    audit.add_argument("--account", metavar="NAME", help="only of this account; name or id")
    audit.add_argument("--days", type=float, default=30, help="how far back (default: 30)")


def _add_keys(commands: Subparsers) -> None:
    keys = add_group(commands, "keys", "Make, list, rotate and revoke API keys.")
    words = "Make an API key, and an account of the same name if there is none; the last line printed is the key alone."
    examples = ("albatross keys create alice --data /srv/albatross", "KEY=$(albatross keys create alice | tail -n 1)")
    create = add_command(keys, "create", words, examples, _create_key)
    create.add_argument("name", metavar="NAME", help="who will use the key")
    create.add_argument("--account", help="put the key into this existing account instead")
    create.add_argument(
        "--scope", action="append", choices=SCOPES, help=f"may be repeated (default: {' '.join(USUAL)})"
    )
    create.add_argument("--days", type=float, help="how long the key opens the account (default: until it is revoked)")
    listing = add_command(keys, "list", "List the keys, never their secrets.", ("albatross keys list",), _list_keys)
    listing.add_argument("--account", metavar="NAME", help="only of this account")
    words = "Make a new key like an old one, which goes on to work for a while; the last line printed is the new key."
    rotate = add_command(keys, "rotate", words, ("albatross keys rotate 3k9x2m1q --hours 24",), _rotate_key)
    rotate.add_argument("id", metavar="ID", help="the public part of the old key: what follows alb_")
    rotate.add_argument("--hours", type=float, default=24, help="how long the old key still works (default: 24)")
    words = "Make a key open nothing from now on."
    revoke = add_command(keys, "revoke", words, ("albatross keys revoke 3k9x2m1q",), _revoke_key)
    revoke.add_argument("id", metavar="ID", help="the public part of the key: what follows alb_")


def _add_accounts(commands: Subparsers) -> None:
    accounts = add_group(commands, "accounts", "List accounts, limit them, erase them.")
    words = "List the accounts with what they use and what they may use."
    add_command(accounts, "list", words, ("albatross accounts list",), _list_accounts)
    words = "Give an account limits of its own; 0 returns it to the service's default."
    examples = ("albatross accounts limit alice --gigabytes 50 --gpu-hours 100",)
    limit = add_command(accounts, "limit", words, examples, _limit_account)
    limit.add_argument("name", metavar="NAME")
    limit.add_argument("--gigabytes", type=float, help="that it may store")
    limit.add_argument("--gpu-hours", type=float, help="that it may spend in 30 days")
    words = "Erase an account with all that it has; the service does it within minutes, and keeps a receipt."
    erase = add_command(accounts, "erase", words, ("albatross accounts erase alice --yes",), _erase_account)
    erase.add_argument("name", metavar="NAME")
    erase.add_argument("--yes", action="store_true", help="really; there is no way back")


@contextmanager
def _session(settings: Settings) -> Iterator["Session"]:
    from core.database.engine import connect, sessions
    from core.database.migrations import migrate

    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings.database)
    engine = connect(settings.database)
    with sessions(engine).begin() as session:
        yield session
    engine.dispose()


def _account(session: "Session", name: str) -> "Account":
    from sqlalchemy import select

    from core.database.tables import Account

    known = (Account.name == name) | (Account.id == name)
    account = session.scalar(select(Account).where(known, Account.erased_at.is_(None)))
    if account is None:
        raise NotFound(f"There is no account {name}; see `albatross accounts list`.", code="account_not_found")
    return account


def _create_key(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.accounts import api_keys, audit
    from core.database.engine import now

    with _session(settings) as session:
        expires = None if chosen.days is None else now(session) + chosen.days * DAY
        scopes = chosen.scope or USUAL
        key = api_keys.create(session, chosen.name, account=chosen.account, expires_at=expires, scopes=scopes)
        public = key.split("_")[1]
        audit.record(session, _account(session, chosen.account or chosen.name).id, "key.create", public)
    print("This key is shown only once:")
    print(key)
    return 0


def _list_keys(chosen: argparse.Namespace, settings: Settings) -> int:
    from sqlalchemy import select

    from core.database.engine import now
    from core.database.tables import Account, ApiKey

    with _session(settings) as session:
        rows = select(ApiKey, Account.name).join(Account, Account.id == ApiKey.account_id).order_by(ApiKey.created_at)
        if chosen.account:
            rows = rows.where(Account.name == chosen.account)
        at = now(session)
        for key, account in session.execute(rows):
            dead = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at < at else "valid"
            used = f"used {_day(key.last_used_at)}" if key.last_used_at else "never used"
            print(f"{key.id}  {account:20} {key.name:20} {','.join(key.scopes):16} {dead:8} {used}")
    return 0


def _rotate_key(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.accounts import api_keys, audit
    from core.database.tables import ApiKey

    with _session(settings) as session:
        key = api_keys.rotate(session, chosen.id, chosen.hours * HOUR)
        audit.record(session, session.get_one(ApiKey, chosen.id).account_id, "key.rotate", chosen.id)
    print(f"The old key works for {chosen.hours:g} more hours. This key is shown only once:")
    print(key)
    return 0


def _revoke_key(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.accounts import api_keys, audit

    with _session(settings) as session:
        key = api_keys.revoke(session, chosen.id)
        audit.record(session, key.account_id, "key.revoke", key.id)
    print(f"The key {chosen.id} opens nothing any more.")
    return 0


def _list_accounts(chosen: argparse.Namespace, settings: Settings) -> int:
    from sqlalchemy import select

    from core.accounts import quotas, usage
    from core.database.tables import Account

    with _session(settings) as session:
        for account in session.scalars(select(Account).order_by(Account.created_at)):
            stored = quotas.stored_bytes(session, account.id) / 1e9
            hours = usage.committed(session, account.id) / HOUR
            most, longest = account.bytes_limit or settings.account_bytes, account.gpu_seconds_limit
            longest = longest or settings.account_gpu_seconds
            room = f"of {most / 1e9:g}" if most else "(no limit)"
            time_left = f"of {longest / HOUR:g}" if longest else "(no limit)"
            state = "  being erased" if account.erased_at else ""
            print(f"{account.id}  {account.name:20} {stored:.2f} {room} GB  {hours:.1f} {time_left} GPU hours{state}")
    return 0


def _limit_account(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.accounts import audit

    with _session(settings) as session:
        account = _account(session, chosen.name)
        if chosen.gigabytes is not None:
            account.bytes_limit = round(chosen.gigabytes * 1e9) or None
        if chosen.gpu_hours is not None:
            account.gpu_seconds_limit = chosen.gpu_hours * HOUR or None
        audit.record(session, account.id, "account.limit", account.id)
    return 0


def _erase_account(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.accounts import audit
    from core.erasure import request

    if not chosen.yes:
        raise InvalidInput(f"This erases all that {chosen.name} has, for good. Say --yes to do it.", code="not_sure")
    with _session(settings) as session:
        account = _account(session, chosen.name)
        started = request.request(session, account.id, "account", account.id)
        audit.record(session, account.id, "account.delete", account.id)
    print(
        f"{started.id}: the dispatcher erases {account.id}; GET /v1/accounts/{account.id}/erasure shows how far it is."
    )
    return 0


def _verify(chosen: argparse.Namespace, settings: Settings) -> int:
    from core.erasure.receipts import genuine

    try:
        told = json.loads(chosen.file.read_text())
        signature = str(told.pop("signature"))
        content = {name: told[name] for name in RECEIPT}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{chosen.file} holds no receipt.", code="invalid_receipt") from error
    if not genuine(content, signature, settings.secret):
        print("NOT genuine: this service has not signed these words.", file=sys.stderr)
        return 1
    print(f"Genuine: {content['kind']} {content['target']} was erased at {_day(content['completed_at'])}.")
    return 0


def _audit(chosen: argparse.Namespace, settings: Settings) -> int:
    from sqlalchemy import select

    from core.database.engine import now
    from core.database.tables import Account, Audit

    with _session(settings) as session:
        rows = select(Audit).where(Audit.at > now(session) - chosen.days * DAY).order_by(Audit.at, Audit.id)
        if chosen.account:
            named = select(Account.id).where(Account.name == chosen.account).scalar_subquery()
            rows = rows.where((Audit.account_id == chosen.account) | (Audit.account_id == named))
        for row in session.scalars(rows):
            columns = ("at", "account_id", "key_id", "action", "target", "address", "request_id")
            print(json.dumps({name: getattr(row, name) for name in columns}))
    return 0


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))

"""Start links: a token in an address of this machine, taken once for a key that lives some hours.

A token's hash is the name of a file in the data folder, and nothing else of it is kept. Whoever may write there owns
the service anyway, every process of this machine finds the file, also after a restart, and only one can take it away.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import secrets
import time
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.accounts import api_keys
from core.database.engine import now
from core.database.tables import Account
from core.disk import write_json
from core.errors import Forbidden

LINK_SECONDS = 3_600.0  # a link that nobody has opened by then is worth nothing
KEY_SECONDS = 12 * 3_600.0
KEY_NAME = "start link"
LOCAL_ACCOUNT = "local"


@dataclass(frozen=True)
class Started:
    """The key that a start link was taken for; the key itself can't be shown again."""

    account: str  # its id
    key: str
    expires_at: float


def make(data: Path, account: str | None = None, seconds: float = LINK_SECONDS) -> str:
    """Make a link for the account of this name, or for this machine's own; returns the token, shown only once."""
    folder = _folder(data)
    for path in folder.glob("*"):
        if _read(path)[0] < time.time():
            path.unlink(missing_ok=True)
    token = secrets.token_urlsafe(32)
    write_json(folder / _hash(token), {"account": account, "expires_at": time.time() + seconds})
    return token


def swap(session: Session, data: Path, token: str) -> Started:
    """Take the link for a key of its account, in the caller's transaction; Forbidden where it can't be taken."""
    path = _folder(data) / _hash(token)
    end, name = _read(path)
    if end < time.time():
        raise _used()
    name = name or _local_account(session)
    expires_at = now(session) + KEY_SECONDS
    key = api_keys.create(session, KEY_NAME, account=name, expires_at=expires_at)
    account = session.scalars(select(Account.id).where(Account.name == name)).one()
    try:
        path.unlink()
    except FileNotFoundError:  # another one was faster
        raise _used() from None
    return Started(account, key, expires_at)


def loopback(host: str) -> bool:
    """Tell whether a host's name or address can only be this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _local_account(session: Session) -> str:
    """Name the account of those who never made one; an erased one stays erased, and the next takes its place."""
    erased = set(session.scalars(select(Account.name).where(Account.erased_at.is_not(None))))
    return next(name for name in chain([LOCAL_ACCOUNT], _numbered()) if name not in erased)


def _numbered() -> map[str]:
    return map(f"{LOCAL_ACCOUNT}-{{}}".format, count(2))


def _folder(data: Path) -> Path:
    return data / "start-links"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[float, str | None]:
    """Return when a link ends and the name of its account; at no time where there is none, or its file can't be read.

    It is read at once: another one may take it away at any moment.
    """
    try:
        said = json.loads(path.read_bytes())
        return float(said["expires_at"]), said["account"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0, None


def _used() -> Forbidden:
    return Forbidden(
        "This start link was opened before, or is too old. `albatross link`, on the machine that runs the service, "
        "prints another one; so does starting the service again.",
        code="start_link_used",
        param="token",
    )

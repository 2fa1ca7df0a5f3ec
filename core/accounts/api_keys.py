"""API keys: `alb_<public id>_<secret><checksum>`, shown once, kept only as a hash, and limited by their scopes."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.database.engine import clock, now
from core.database.tables import Account, ApiKey
from core.errors import InvalidInput, NotFound, Unauthenticated

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_LENGTH = 43  # 43 letters of base 62 hold 256 bits
KEY = re.compile(r"alb_([a-z0-9]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)
USED_AGAIN_SECONDS = 300
# read: look at everything; write: upload, create, cancel, delete; admin: erase the whole account
SCOPES = ("read", "write", "admin")
DEFAULT_SCOPES = ("read", "write")


@dataclass(frozen=True)
class Access:
    """What a valid key opens."""

    account: str
    key: str  # its public part
    scopes: frozenset[str]
    note_use: bool  # whether the time of its last use is worth writing down


def create(
    session: Session,
    name: str,
    *,
    account: str | None = None,
    expires_at: float | None = None,
    scopes: Sequence[str] = DEFAULT_SCOPES,
) -> str:
    """Make a key, and the account where it is new; returns the key, which can't be shown again."""
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InvalidInput(f"A key's scopes are some of {', '.join(SCOPES)}.", code="invalid_scope", param="scopes")
    if not name.strip() or not re.fullmatch(r"[\w .@-]{1,64}", name):
        raise InvalidInput(
            "A key's name has 1 to 64 letters, digits, spaces or . @ - _", code="invalid_name", param="name"
        )
    owner = session.scalar(select(Account).where(Account.name == (account or name)))
    if owner is not None and owner.erased_at is not None:
        raise InvalidInput("This account is erased; choose another name.", code="account_erased", param="account")
    if owner is None:
        owner = Account(name=account or name, created_at=now(session))
        session.add(owner)
        session.flush()
    public = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8))
    secret = "".join(secrets.choice(BASE62) for _ in range(SECRET_LENGTH))
    key = ApiKey(
        id=public,
        account_id=owner.id,
        name=name,
        secret_sha256=_hash(secret),
        scopes=sorted(set(scopes)),
        created_at=now(session),
        expires_at=expires_at,
    )
    session.add(key)
    return f"alb_{public}_{secret}{checksum(secret)}"


def checksum(secret: str) -> str:
    """CRC32 in six letters of base 62: lets scanners and typing errors be told from real keys."""
    value, letters = zlib.crc32(secret.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        letters = BASE62[digit] + letters
    return letters


def authenticate(session: Session, presented: str) -> Access:
    """Return what the key opens, or raise Unauthenticated; the work is the same for all, and nothing is written."""
    match = KEY.fullmatch(presented[:100])
    public, secret, check = match.groups() if match else ("", "", "")
    found = select(ApiKey, Account.erased_at, clock(session)).join(Account, Account.id == ApiKey.account_id)
    row = session.execute(found.where(ApiKey.id == public)).one_or_none()
    key, erased_at, at = row if row else (None, None, 0.0)
    right = hmac.compare_digest(_hash(secret).encode(), (key.secret_sha256 if key else _hash("nobody")).encode())
    alive = key is not None and key.revoked_at is None and erased_at is None
    if key is None or not (match and right and alive and check == checksum(secret)):
        raise Unauthenticated(
            "The API key is not valid. Make one with `albatross keys create NAME`.", code="invalid_api_key"
        )
    if key.expires_at is not None and key.expires_at <= at:  # told only to who has the whole key
        raise Unauthenticated(
            "The API key has expired. Make another with `albatross keys create NAME`; where a start link gave it, open "
            "one that `albatross link` prints.",
            code="expired_api_key",
        )
    stale = key.last_used_at is None or key.last_used_at < at - USED_AGAIN_SECONDS
    return Access(key.account_id, key.id, frozenset(key.scopes), stale)


def opens(session: Session, public: str) -> bool:
    """Tell whether a key that was found valid before still is: not revoked, expired, or gone with its account."""
    alive = ApiKey.revoked_at.is_(None) & (ApiKey.expires_at.is_(None) | (ApiKey.expires_at > clock(session)))
    found = select(ApiKey.id).join(Account, Account.id == ApiKey.account_id).where(ApiKey.id == public, alive)
    return session.scalar(found.where(Account.erased_at.is_(None))) is not None


def used(session: Session, public: str) -> None:
    """Note that the key was used now."""
    session.execute(update(ApiKey).where(ApiKey.id == public).values(last_used_at=now(session)))


def revoke(session: Session, public: str) -> ApiKey:
    """Make the key open nothing from now on; NotFound where there is none."""
    key = session.get(ApiKey, public)
    if key is None:
        raise NotFound(f"There is no key {public}; see `albatross keys list`.", code="key_not_found")
    key.revoked_at = key.revoked_at or now(session)
    return key


def rotate(session: Session, public: str, overlap_seconds: float) -> str:
    """Make a new key like this one, which goes on to work for a while; returns the new one, shown once."""
    old = session.get(ApiKey, public)
    if old is None or old.revoked_at is not None:
        raise NotFound(f"There is no key {public} that works; see `albatross keys list`.", code="key_not_found")
    account = session.get_one(Account, old.account_id)
    made = create(session, old.name, account=account.name, expires_at=old.expires_at, scopes=old.scopes)
    ends = now(session) + overlap_seconds
    old.expires_at = ends if old.expires_at is None else min(ends, old.expires_at)
    return made


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

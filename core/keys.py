"""API keys: `alb_<public id>_<secret><checksum>`, shown once and kept only as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database import clock, now
from core.errors import InvalidInput, Unauthenticated
from core.models import Account, ApiKey

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_LENGTH = 43  # 43 letters of base 62 hold 256 bits
KEY = re.compile(r"alb_([a-z0-9]{8})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)
USED_AGAIN_SECONDS = 300


def create(session: Session, name: str, *, account: str | None = None, expires_at: float | None = None) -> str:
    """Make a key, and the account where it is new; returns the key, which can't be shown again."""
    if not re.fullmatch(r"[\w .@-]{1,64}", name):
        raise InvalidInput(
            "A key's name has 1 to 64 letters, digits, spaces or . @ - _", code="invalid_name", param="name"
        )
    owner = session.scalar(select(Account).where(Account.name == (account or name)))
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


def authenticate(session: Session, presented: str) -> str:
    """Return the id of the account that the key belongs to and note its use, or raise Unauthenticated."""
    key, at = verified(session, presented)
    if unnoted(key, at):
        key.last_used_at = at
    return key.account_id


def unnoted(key: ApiKey, at: float) -> bool:
    """Say whether the key's use is to be written down: not at every call, because that would make each a writer."""
    return key.last_used_at is None or key.last_used_at < at - USED_AGAIN_SECONDS


def verified(session: Session, presented: str) -> tuple[ApiKey, float]:
    """Return the key and the database's time, writing nothing; the work is the same for a wrong key."""
    match = KEY.fullmatch(presented[:100])
    public, secret, check = match.groups() if match else ("", "", "")
    row = session.execute(select(ApiKey, clock(session)).where(ApiKey.id == public)).one_or_none()
    key, at = (row[0], row[1]) if row else (None, 0.0)
    right = hmac.compare_digest(_hash(secret).encode(), (key.secret_sha256 if key else _hash("nobody")).encode())
    alive = key is not None and key.revoked_at is None and (key.expires_at is None or key.expires_at > at)
    if key is None or not (match and right and alive and check == checksum(secret)):
        raise Unauthenticated(
            "The API key is not valid. Make one with `albatross keys create NAME`.", code="invalid_api_key"
        )
    return key, at


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

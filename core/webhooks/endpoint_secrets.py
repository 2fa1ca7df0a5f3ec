"""Secrets of webhook endpoints: made, shown once, replaced, and kept encrypted with the service's key.

Rows of older versions hold theirs as they are (`whsec_...`): these sign too, until `reencrypt` has been there.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.database import file_remains
from core.database.engine import looking, now
from core.database.tables import Json, WebhookEndpoint
from core.errors import Unavailable
from core.keys import sealing
from core.keys.keyring import Keyring
from core.webhooks.signatures import PREFIX

SECRET_BYTES = 33  # a multiple of three, so that nothing has to be padded
SHOWN_CHARACTERS = 4
KEPT_SECONDS = 86_400.0  # that a secret signs on after it was replaced, where its owner asks for that
MAX_SECRETS = 10
BATCH = 100


@dataclass(frozen=True)
class Reencrypted:
    """What one pass over all endpoints has found."""

    endpoints: int = 0
    changed: int = 0
    unreadable: int = 0


def random_secret() -> str:
    """Make a secret to sign with."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def new_secret(endpoint_id: str, keyring: Keyring) -> str:
    """Make a secret to sign with, encrypted for this endpoint; its owner sees it once."""
    return _sealed(random_secret(), endpoint_id, keyring)


def hint(endpoint: WebhookEndpoint) -> str:
    """Show enough of the secret to tell it from another, and too little to sign with; nothing is decrypted for it."""
    secret = endpoint.secret
    return f"{PREFIX}...{sealing.shown(secret) if sealing.is_sealed(secret) else secret[-SHOWN_CHARACTERS:]}"


def secret_of(endpoint: WebhookEndpoint, keyring: Keyring) -> str:
    """Return the secret itself; raises Unavailable where no key of this service opens it."""
    return sealing.unseal(endpoint.secret, endpoint.id, keyring)


def rotate(endpoint: WebhookEndpoint, at: float, keyring: Keyring, *, keep: bool) -> None:
    """Give the endpoint a new secret; with `keep` the one until now signs too for a day, else all older ones end."""
    kept = _in_force(endpoint, at)[: MAX_SECRETS - 1] if keep else []
    if keep:
        kept = [{"secret": endpoint.secret, "until": at + KEPT_SECONDS}, *kept]
    endpoint.secret, endpoint.old_secrets, endpoint.updated_at = new_secret(endpoint.id, keyring), kept, at


def signing_secrets(endpoint: WebhookEndpoint, at: float, keyring: Keyring) -> list[str]:
    """Return the secrets that sign now, the newest first; raises Unavailable where that one can't be decrypted."""
    older = (_or_none(str(old["secret"]), endpoint.id, keyring) for old in _in_force(endpoint, at))
    return [secret_of(endpoint, keyring), *(secret for secret in older if secret is not None)]


def reencrypt(sessions: sessionmaker[Session], keyring: Keyring) -> Reencrypted:
    """Encrypt all secrets with the newest key, a few rows a transaction; what was done before is not done again."""
    found, last = Reencrypted(), ""
    while True:
        with looking(sessions) as session:
            query = select(WebhookEndpoint).where(WebhookEndpoint.id > last).order_by(WebhookEndpoint.id).limit(BATCH)
            rows = session.scalars(query).all()
            at = now(session)
            outdated = [endpoint.id for endpoint in rows if not _current(endpoint, at, keyring)]
        if not rows:
            if found.changed:  # else the log of SQLite would hold them as they were
                file_remains.empty_log(sessions.kw["bind"])
            return found
        last = rows[-1].id
        changed, unreadable = _reencrypt_some(sessions, outdated, keyring) if outdated else (0, 0)
        found = Reencrypted(found.endpoints + len(rows), found.changed + changed, found.unreadable + unreadable)


def _reencrypt_some(sessions: sessionmaker[Session], ids: list[str], keyring: Keyring) -> tuple[int, int]:
    """Encrypt the secrets of these endpoints anew; returns of how many, and how many could not be read."""
    changed = unreadable = 0
    with sessions.begin() as session:
        some = select(WebhookEndpoint).where(WebhookEndpoint.id.in_(ids)).order_by(WebhookEndpoint.id)
        for endpoint in session.scalars(some.with_for_update()):
            try:
                _renew(endpoint, now(session), keyring)
                changed += 1
            except Unavailable:
                unreadable += 1
    return changed, unreadable


def _renew(endpoint: WebhookEndpoint, at: float, keyring: Keyring) -> None:
    """Encrypt an endpoint's secrets with the newest key; those that sign no more go."""

    def renewed(text: str) -> str:
        if sealing.is_current(text, keyring):
            return text
        return _sealed(sealing.unseal(text, endpoint.id, keyring), endpoint.id, keyring)

    olds = [old | {"secret": renewed(str(old["secret"]))} for old in _in_force(endpoint, at)]
    endpoint.secret, endpoint.old_secrets = renewed(endpoint.secret), olds


def _sealed(secret: str, owner: str, keyring: Keyring) -> str:
    return sealing.seal(secret, owner, secret[-SHOWN_CHARACTERS:], keyring)


def _current(endpoint: WebhookEndpoint, at: float, keyring: Keyring) -> bool:
    """Tell whether an endpoint holds what signs alone, and all of it encrypted with the newest key."""
    texts = [endpoint.secret, *(str(old["secret"]) for old in endpoint.old_secrets)]
    ended = len(endpoint.old_secrets) - len(_in_force(endpoint, at))
    return not ended and all(sealing.is_current(text, keyring) for text in texts)


def _or_none(text: str, owner: str, keyring: Keyring) -> str | None:
    try:
        return sealing.unseal(text, owner, keyring)
    except Unavailable:
        return None


def _in_force(endpoint: WebhookEndpoint, at: float) -> list[Json]:
    return [old for old in endpoint.old_secrets if float(old["until"]) > at]

"""Secrets of webhook endpoints, and the signature of a request.

Signatures follow Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over "{id}.{timestamp}.{body}".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

from core.database.tables import Json, WebhookEndpoint
from core.version import VERSION

PREFIX = "whsec_"
SECRET_BYTES = 33  # a multiple of three, so that nothing has to be padded
KEPT_SECONDS = 86_400.0  # that a secret signs on after it was replaced, where its owner asks for that
MAX_SECRETS = 10


def new_secret() -> str:
    """Make a secret to sign with; its owner sees it once."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """Show enough of a secret to tell it from another, and too little to sign with."""
    return f"{PREFIX}...{secret[-4:]}"


def rotate(endpoint: WebhookEndpoint, at: float, *, keep: bool) -> None:
    """Give the endpoint a new secret; with `keep` the one until now signs too for a day, else all older ones end."""
    kept = _in_force(endpoint, at)[: MAX_SECRETS - 1] if keep else []
    if keep:
        kept = [{"secret": endpoint.secret, "until": at + KEPT_SECONDS}, *kept]
    endpoint.secret, endpoint.old_secrets, endpoint.updated_at = new_secret(), kept, at


def signing_secrets(endpoint: WebhookEndpoint, at: float) -> list[str]:
    """Return the secrets that sign now, the newest first."""
    return [endpoint.secret, *(str(old["secret"]) for old in _in_force(endpoint, at))]


def headers(message: str, at: float, content: bytes, signing: Sequence[str]) -> dict[str, str]:
    """Return the headers that a receiver checks a request by; `message` stays the same over all tries."""
    timestamp = str(int(at))
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Albatross/{VERSION}",
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(sign(secret, message, timestamp, content) for secret in signing),
    }


def sign(secret: str, message: str, timestamp: str, content: bytes) -> str:
    """Return `v1,` and the signature of one request with one secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _in_force(endpoint: WebhookEndpoint, at: float) -> list[Json]:
    return [old for old in endpoint.old_secrets if float(old["until"]) > at]

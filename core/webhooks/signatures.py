"""The signature of a webhook's request.

It follows Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over "{id}.{timestamp}.{body}".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from core.version import VERSION

PREFIX = "whsec_"


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

"""The signed receipt of an erasure, and whether one is genuine."""

from __future__ import annotations

import hashlib
import hmac
import json

from core.database.tables import Erasure, Json


def receipt(erasure: Erasure) -> Json:
    """Return what a receipt says, apart from its signature."""
    return {
        "id": erasure.id,
        "kind": erasure.kind,
        "target": erasure.target,
        "account": erasure.account_id,
        "requested_at": erasure.requested_at,
        "completed_at": erasure.done_at,
        "objects": erasure.objects,
        "rows": erasure.rows,
    }


def sign(content: Json, secret: str) -> str:
    """Return the HMAC-SHA256 of a receipt; only the service that gave it can make or check it."""
    told = {name: value for name, value in content.items() if name != "objects"}  # late objects are counted on
    return hmac.new(secret.encode(), json.dumps(told, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def genuine(content: Json, signature: str, secret: str) -> bool:
    """Tell whether this service has signed the receipt."""
    return hmac.compare_digest(sign(content, secret).encode(), signature.encode())

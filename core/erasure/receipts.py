"""The signed receipt of an erasure, and whether one is genuine."""

from __future__ import annotations

import json

from core.database.tables import Erasure, Json
from core.keys.keyring import Keyring


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


def sign(content: Json, keyring: Keyring) -> str:
    """Return the HMAC-SHA256 of a receipt; only the service that gave it can make or check it."""
    return keyring.sign(_signed(content))


def genuine(content: Json, signature: str, keyring: Keyring) -> bool:
    """Tell whether this service has signed the receipt, with one of the keys that it still has."""
    return keyring.verifies(_signed(content), signature)


def _signed(content: Json) -> bytes:
    told = {name: value for name, value in content.items() if name != "objects"}  # late objects are counted on
    return json.dumps(told, sort_keys=True).encode()

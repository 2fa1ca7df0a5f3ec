"""The signed receipt of an erasure, and whether one is genuine."""

from __future__ import annotations

import json

from core.database.tables import Erasure, Json
from core.erasure.places import ENDED
from core.keys.keyring import Keyring
from core.storage.interface import Storage

# what no look of this service reaches, by where it is kept
STORES = {
    "local": "blocks of the disk that are not yet written over, and backups",
    "s3": "what the store itself replicates, locks or backs up",
}
DATABASES = {
    "sqlite": "blocks of the disk that are not yet written over, backups, and, until the file is written anew within "
    "a day, seldom a row's copy in an unused part of a page",
    "postgresql": "dead rows until they are vacuumed, the write-ahead log and its archives, and backups",
}


def receipt(erasure: Erasure) -> Json:
    """Return what a receipt says, apart from its signature; before they told it, receipts had no `looked_at`."""
    return {
        "id": erasure.id,
        "kind": erasure.kind,
        "target": erasure.target,
        "account": erasure.account_id,
        "requested_at": erasure.requested_at,
        "completed_at": erasure.done_at,
        "objects": erasure.objects,
        "rows": erasure.rows,
        "looked_at": erasure.looked_at,
    }


def traces(erasure: Erasure, storage: Storage, database: str) -> list[Json]:
    """Return the entries of the places that hold rows and objects, with what this service can't see of them."""
    store = {"place": "store", "store": storage.kind, "objects": erasure.objects, "remains": STORES[storage.kind]}
    rows = {"place": "database", "database": database, "rows": erasure.rows, "remains": DATABASES[database]}
    if database == "sqlite":
        rows["log"] = "truncated"
    ended = [entry for entry in erasure.looked_at if entry["place"] == ENDED]
    return [*ended, store, rows]


def sign(content: Json, keyring: Keyring) -> str:
    """Return the HMAC-SHA256 of a receipt; only the service that gave it can make or check it."""
    return keyring.sign(_signed(content))


def genuine(content: Json, signature: str, keyring: Keyring) -> bool:
    """Tell whether this service has signed the receipt, with one of the keys that it still has."""
    return keyring.verifies(_signed(content), signature)


def _signed(content: Json) -> bytes:
    told = {name: value for name, value in content.items() if name != "objects"}  # late objects are counted on
    if not told.get("looked_at"):  # older receipts have none
        told.pop("looked_at", None)
    return json.dumps(told, sort_keys=True).encode()

"""Keys that were found valid a moment ago: a client that asks often costs one look into the database a second."""

import hashlib
from threading import Lock
from typing import Generic, TypeVar

from cachetools import TTLCache

T = TypeVar("T")
REMEMBERED_SECONDS = 1.0  # for so long a key that was just revoked may still be taken
MAX_KEYS = 10_000


class KeyCache(Generic[T]):
    """Remembers for a moment whose a key is; holds hashes, so that no key stays in memory."""

    def __init__(self) -> None:
        self._found: TTLCache[bytes, T] = TTLCache(MAX_KEYS, REMEMBERED_SECONDS)
        self._lock = Lock()

    def find(self, key: str) -> T | None:
        """Return what was remembered for the key, if that was just now."""
        with self._lock:
            return self._found.get(_hash(key))

    def remember(self, key: str, owner: T) -> None:
        """Remember whose the key is; a key that is not valid is never remembered."""
        with self._lock:
            self._found[_hash(key)] = owner


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()

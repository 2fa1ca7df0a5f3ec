"""Keys that were found valid a moment ago: a client that asks often costs one look into the database a second."""

import hashlib
import time
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
SECONDS = 1.0  # for so long a key that was just revoked may still be taken
MAX_KEYS = 10_000


class KeyCache(Generic[T]):
    """Remembers for a moment whose a key is; holds hashes, so that no key stays in memory."""

    def __init__(self) -> None:
        self._found: dict[bytes, tuple[T, float]] = {}
        self._lock = Lock()

    def find(self, key: str) -> T | None:
        """Return what was remembered for the key, if that was just now."""
        owner, until = self._found.get(_hash(key), (None, 0.0))
        return owner if time.monotonic() < until else None

    def remember(self, key: str, owner: T) -> None:
        """Remember whose the key is."""
        with self._lock:
            if len(self._found) >= MAX_KEYS:
                self._found.clear()
            self._found[_hash(key)] = (owner, time.monotonic() + SECONDS)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()

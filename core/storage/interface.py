"""What a store of whole files can do, whichever it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from core.disk import hash_file

CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """What was stored: its key, its size and the sha256 of its bytes."""

    key: str
    bytes: int
    sha256: str


class Storage(Protocol):
    """A flat store of whole files. Raises NotFound, or StorageUnavailable where the store is away or full."""

    kind: str  # as receipts of erasures call it

    def put(self, key: str, source: Path | bytes, content_type: str = "application/octet-stream") -> StoredObject:
        """Store a whole file under the key, replacing what was there; all or nothing."""

    def open(self, key: str) -> BinaryIO:
        """Open the file for reading; the caller closes it."""

    def read(self, key: str) -> bytes:
        """Return the bytes of a small file."""

    def fetch(self, key: str, path: Path) -> StoredObject:
        """Copy the file to a path; all or nothing."""

    def url(self, key: str, *, seconds: int = 300, filename: str | None = None) -> str | None:
        """A signed address for one GET, or None where clients can't reach the store."""

    def keys(self, prefix: str) -> list[str]:
        """The key itself, if there is such a file, and all keys under `prefix/`."""

    def delete_prefix(self, prefix: str) -> int:
        """Delete the file of this key and everything under `prefix/`, in all versions; returns how many files."""

    def sweep_abandoned(self, prefix: str) -> None:
        """Erase what killed processes left below a prefix, however young; only a local store can tell."""

    def sweep(self, seconds: float) -> int:
        """Erase what uploads that never ended left behind more than so long ago; returns how many."""


def sha256_of(source: Path | bytes) -> str:
    """sha256 of a file's or a buffer's bytes."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    return hash_file(source)

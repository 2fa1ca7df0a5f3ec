"""Whether a worker's child works on something: a lock, which goes with the child, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def occupied(file: Path) -> Iterator[None]:
    """Hold the lock; the parent has it for a moment only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def unoccupied(file: Path) -> Iterator[bool]:
    """Tell whether the child works on nothing, and keep it from beginning with something in the block."""
    lock = _taken(file)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _taken(file: Path) -> int | None:
    lock = None
    try:
        lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it works, or nothing can be said
        if lock is not None:
            os.close(lock)
        return None
    return lock

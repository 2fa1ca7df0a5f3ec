"""What trainers print, kept whole where keep_trainer_output says so: a file an attempt, in the data folder.

It may hold what people sent: core.erasure.trainer_output erases what need not or must not be there any more.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from core.disk import PRIVATE, PRIVATE_FOLDER
from core.settings import Settings

FOLDER = "trainer-output"
MAX_BYTES = 10_000_000
CUT = b"\n(the rest is not kept)\n"
ID = re.compile(r"[A-Za-z0-9-]{1,80}", re.ASCII)


class KeptOutput:
    """The open file of one attempt; what is written after it was erased is gone with it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        self._path, self._room = path, MAX_BYTES
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(path, flags, PRIVATE), "ab", buffering=0)

    def write(self, part: bytes) -> None:
        """Keep what there is room for."""
        kept = part[: self._room]
        self._room -= len(kept)
        with suppress(OSError):  # a full disk is told of by others
            self._file.write(kept)
            if kept and not self._room:
                self._file.write(CUT)

    def close(self) -> None:
        """End the file; one that holds nothing is removed."""
        empty = os.fstat(self._file.fileno()).st_size == 0
        self._file.close()
        if empty:
            self._path.unlink(missing_ok=True)


def open_for(settings: Settings, account_id: str, attempt: str) -> KeptOutput | None:
    """Open the file of an attempt, JOB-eN; None where nothing is to be kept, or can't be."""
    if not settings.keep_trainer_output or not all(map(ID.fullmatch, (account_id, attempt))):
        return None
    try:
        return KeptOutput(settings.data / FOLDER / account_id / f"{attempt}.log")
    except OSError:
        return None


def kept(data: Path) -> list[tuple[str, Path]]:
    """List what is kept in a data folder, with the job that it is of."""
    return [(path.stem.rpartition("-e")[0], path) for path in sorted((data / FOLDER).glob("*/*-e*.log"))]

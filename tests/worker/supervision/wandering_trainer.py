"""A trainer that was taken over: `wandering_trainer.py OUTSIDE` leads its supervisor there at the next attempt."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

from tests.worker import fast_trainer
from worker.job_folder import JobFolder
from worker.protocol import Line, StageDone
from worker.trainer.__main__ import serve


def work(folder: JobFolder) -> Generator[Line, None, None]:
    """Store a file whose place is a link when it is fetched again, put the folder that holds it, and die."""
    job, _, attempt = folder.path.name.rpartition("-e")
    if attempt != "1":
        yield from fast_trainer.work(folder)
        return
    planted = folder.path.parent / "planted"
    planted.mkdir()
    for name in ("prepare", "references"):
        (planted / name).symlink_to(Path(sys.argv[1]))
    (folder.path.parent / f"{job}-e2").symlink_to(planted)
    with folder.writing("prepare") as draft:
        (draft / "loot").write_text("words")
    yield StageDone("prepare")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(work)

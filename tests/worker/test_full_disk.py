"""A disk that is really full: job folders on a small file system of their own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.worker.floor import Floor


@pytest.fixture
def crammed(floor: Floor) -> Iterator[Floor]:
    """A floor whose job folders have no room at all."""
    work = floor.settings.data / "work"
    work.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", work]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting takes a privilege")
    try:
        (work / "ballast").write_bytes(bytes(2 << 20))
        yield floor
    finally:
        floor.trainer.discard()
        subprocess.run(["umount", work], check=True)


@pytest.mark.slow
def test_a_job_waits_for_room_and_says_so(crammed: Floor) -> None:
    job_id = crammed.job()
    crammed.supervise()
    job = crammed.get(job_id)
    assert (job.state, job.retry_count) == ("QUEUED", 1)
    assert "disk is full" in crammed.events(job_id)[-1]
    (crammed.settings.data / "work/ballast").unlink()
    time.sleep(crammed.settings.retry_seconds)
    crammed.supervise()
    assert crammed.get(job_id).state == "SUCCEEDED"

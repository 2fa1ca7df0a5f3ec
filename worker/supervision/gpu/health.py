"""What becomes of a job and of its worker when the GPU fails: another try, the job's end, or the worker's leave.

A first fault costs the job one try, in a fresh trainer. At the second in a row a fresh process tries the GPU. Where
that fails too, where the GPU itself has said that it fails, or where two jobs came to grief on it, the worker takes
itself out of service, and the job goes back to the queue as if it had not been taken. Else it is the job that makes a
good GPU fail: it ends, for it would take one worker after the other with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.fitness import Fitness, Problem
from worker.protocol import Checked

log = logging.getLogger(__name__)
BROKEN = "gpu_broken"  # the code of a fault that is the GPU's own, whatever ran
OUT_OF_SERVICE = "the worker is out of service and takes no more jobs: %s"
IN_DOUBT = (
    "The GPU failed at {} in a row, though it passes its check. Look into the kernel log for Xid and for errors of its "
    "memory (`nvidia-smi -q`), set it back (`nvidia-smi -r`), then start the worker again."
)
# what others hold of the GPU they may let go again; all else keeps a worker out of service until it is started again
PASSING = frozenset({"gpu_memory_taken", "gpu_busy"})
TWO_JOBS, TWICE = "two jobs", "one job twice"
GOES_ON = "The worker's GPU is out of order, and the worker out of service; the job goes on elsewhere."
JOB_FAULT = (
    "The GPU's program failed twice in a row at this job, on a GPU that passes its check. The operator finds where in "
    "the worker's log; please report it. Other references or a smaller batch_size may not meet it."
)


class OutOfService(Exception):
    """The worker is out of service: the job is another's."""


@dataclass
class DeviceHealth:
    """What a worker has seen of its GPU; `check` tries the GPU in a fresh process."""

    fitness: Fitness
    check: Callable[[], Checked]
    _failed: list[str] = field(default_factory=list)  # the job of each fault in a row

    @property
    def fit(self) -> bool:
        """Tell whether the worker is in service."""
        return self.fitness.problem() is None

    def computed(self) -> None:
        """Note that a job was computed to its end: faults before are no row any more."""
        self._failed.clear()

    def faulty(self, job_id: str, code: str) -> bool:
        """Take note of a fault; tell whether the job may be tried again, or else has to end.

        Raises OutOfService where it is the worker that has to.
        """
        self._failed.append(job_id)
        if len(self._failed) == 1:
            return True
        self.tried()
        several = len(set(self._failed)) > 1
        if several or code == BROKEN:
            self._leave(code, IN_DOUBT.format(TWO_JOBS if several else TWICE))
        return False

    def tried(self) -> None:
        """Try the GPU, after whatever gives reason to; raises OutOfService where nothing can be computed on it."""
        found = self.check()
        if found.code is not None:
            self._leave(found.code, found.message or "")

    def _leave(self, code: str, message: str) -> None:
        log.error(OUT_OF_SERVICE, message)
        self.fitness.leave(Problem(code, message, lasting=code not in PASSING))
        raise OutOfService

"""The supervisor's end of a check: a trainer of nobody's is started, asked whether its device computes, and ended."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress

from core.errors import JobFailure
from core.settings import Settings
from worker.device import device, is_gpu
from worker.protocol import Checked
from worker.trainer.process import Trainer, TrainerDied
from worker.trainer.sandbox import Cage

log = logging.getLogger(__name__)
PROBE_SECONDS, POLL_SECONDS = 180.0, 0.2
DIED = (
    "The process that tries the GPU ended before it could say anything ({}). Look into the kernel log for Xid and for "
    "memory that ran out."
)
HUNG = (
    "The process that tries the GPU gave no answer within {:.0f} s. Look into the kernel log for Xid, then start the "
    "machine again."
)


def probe(settings: Settings) -> Checked:
    """Try the device of trainers, as a trainer would come to it; the CPU is not tried."""
    if not is_gpu(device(settings)):
        return Checked()
    cage = Cage.of_process(settings, "check")
    trainer = Trainer(settings, cage)
    try:
        trainer.check(device(settings))
        return _answer(trainer)
    except (TrainerDied, JobFailure) as error:
        return Checked("gpu_check_failed", DIED.format(getattr(error, "returncode", "it talked nonsense")))
    finally:
        trainer.kill()
        shutil.rmtree(cage.work, ignore_errors=True)


def _answer(trainer: Trainer) -> Checked:
    deadline = time.monotonic() + PROBE_SECONDS
    while time.monotonic() < deadline:
        line = trainer.receive(POLL_SECONDS)
        if isinstance(line, Checked):
            return line
    with suppress(OSError):
        trainer.dump_and_kill()
    return Checked("gpu_check_hung", HUNG.format(PROBE_SECONDS))

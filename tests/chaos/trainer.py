"""A trainer that learns nothing, in about a second: a real process with the real protocol and real stage folders.

It saves its step after every step, and goes on from there. Every step that it does is one line of pools/steps (job,
attempt, stage, step), so that work done twice can be counted. A job with the suffix `poison` kills its supervisor in
the middle of training, every time.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

from tests.worker.fast_trainer import note, write
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, Metrics, Progress, Saved, StageDone
from worker.trainer.__main__ import serve

STEPS = {"prepare": 2, "surrogate": 8, "score": 4, "trial": 4, "train": 10, "export": 2}
STEP_SECONDS = 0.03
POISON = "poison"


def work(folder: JobFolder) -> Generator[Line, None, None]:
    """Do the stages that are not done."""
    spec = folder.spec()
    pools = Path(spec["pools"])
    pools.mkdir(parents=True, exist_ok=True)
    job_id, _, attempt = folder.path.name.rpartition("-e")
    for stage, steps in STEPS.items():
        if folder.done(stage):
            continue
        with folder.writing(stage) as draft:
            before = folder.saved(stage)
            done = int((before / "step").read_text()) if before else 0
            yield Message(stage, f"Doing {stage}: {done} of {steps} steps")
            for step in range(done + 1, steps + 1):
                time.sleep(STEP_SECONDS)
                note(pools / "steps", f"{job_id} {attempt} {stage} {step}")
                if spec["suffix"] == POISON and stage == "train" and step == 3:
                    os.kill(os.getppid(), signal.SIGKILL)
                with folder.saving(stage) as save:
                    (save / "step").write_text(str(step))
                yield Saved(stage)
                yield Progress(stage, step, steps, (steps - step) * STEP_SECONDS)
                yield Metrics(stage, [{"step": step, "loss": 1 / step}])
            write(stage, draft)
            for file in draft.glob("snapshots/*"):
                file.write_bytes(weights(job_id))
        folder.forget_saves()
        yield StageDone(stage)


def weights(job_id: str) -> bytes:
    """Return what a job's adapter consists of: enough bytes to be torn, and nobody else's."""
    return hashlib.sha256(job_id.encode()).digest() * 1000


if __name__ == "__main__":
    serve(work)

"""How far a job has got that it can go on from: crashes and passing faults are counted since, and end who stands still.

The place moves in the transaction that registers what is stored there, and never back: a stage that is done again, and
a save at or before it, are no progress. What a step is, only the trainer knows; one that makes up steps can't go on for
ever, because after MAX_ATTEMPTS no step makes up for a crash, and because every save puts down the GPU time until then.
"""

from __future__ import annotations

from core.database.tables import Job
from core.parameters.schedule import STAGES

FINISHED = 2**31 - 1  # the step at which a stage is finished: none has so many, and the column takes no more
MAX_ATTEMPTS = 1000
REFERENCES_ADVICE = "Try fewer or smaller references, or ask the operator to look into the log."
OTHER_ADVICE = (
    "Ask the operator to look into the log of that time; if memory was short, a smaller batch_size takes less."
)


def advance(job: Job, stage: str, step: int = FINISHED) -> None:
    """Note that a locked job has stored this much; where that is further than before, its faults are forgotten."""
    if stage not in STAGES or job.attempt > MAX_ATTEMPTS:
        return
    before = (STAGES.index(job.furthest_stage), job.furthest_step) if job.furthest_stage in STAGES else (-1, 0)
    if (STAGES.index(stage), counted(step)) > before:
        job.furthest_stage, job.furthest_step = stage, counted(step)
        job.crash_count = job.retry_count = 0


def counted(step: int) -> int:
    """Return a step as the columns take it, whatever a trainer says."""
    return min(max(0, int(step)), FINISHED)


def place(job: Job) -> str:
    """Say where a job stands that can't get further."""
    if job.furthest_stage is None:
        return "before anything of it was stored"
    if job.furthest_step == FINISHED:
        return f"after the stage {job.furthest_stage}"
    return f"in the stage {job.furthest_stage} after step {job.furthest_step}"


def advice(job: Job) -> str:
    """Say what to do about a job that crashes there; what has got beyond its references has no fault in them."""
    return OTHER_ADVICE if job.furthest_stage else REFERENCES_ADVICE

"""What kinds of events a job's history has: the word for programs beside each sentence for people.

docs/following-a-job.md says what each means and what comes with it.
"""

from __future__ import annotations

from enum import StrEnum


class EventCode(StrEnum):
    """A kind of event, which stays the same whatever its sentence says; it stands in the event's data."""

    # where a job goes
    QUEUED = "queued"
    TAKEN = "taken"  # by a worker, once for every attempt
    PAUSING = "pausing"
    PAUSED = "paused"
    PAUSE_WITHDRAWN = "pause_withdrawn"  # before the worker has seen the order
    RESUMED = "resumed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    RELEASED = "released"  # the worker can't go on with any job
    RETRIED = "retried"  # after a passing fault
    ADJUSTED = "adjusted"  # its parameters, because it could not go on with those it had
    WORKER_LOST = "worker_lost"
    EXPIRED = "expired"
    FAILED = "failed"
    PUBLISHED = "published"
    # what is said on the way
    FINDING = "finding"
    LOSS = "loss"
    WENT_ON = "went_on"  # after what earlier attempts have finished
    TAKEN_OVER = "taken_over"  # of another job, whose kept step is published
    STAGE_STARTED = "stage_started"
    MEMORY = "memory"
    NOTE = "note"  # a sentence that says all there is
    # prepare
    ENCODING_POOL = "encoding_pool"
    OWN_SAMPLES_STARTED = "own_samples_started"
    OWN_SAMPLES_PROGRESS = "own_samples_progress"
    OWN_SAMPLES_MADE = "own_samples_made"
    OWN_SAMPLES_FEW = "own_samples_few"
    OWN_SAMPLES_CHANGED = "own_samples_changed"
    CAPTIONED = "captioned"
    SHAPES_CHOSEN = "shapes_chosen"
    KNOWN_EXAMPLES = "known_examples"  # of the pool, which were sent too
    MODULES_LEFT_OUT = "modules_left_out"
    # surrogate, score, trial
    SURROGATES_WENT_ON = "surrogates_went_on"
    EVIDENCE = "evidence"
    SCORING_PROGRESS = "scoring_progress"
    SCORED = "scored"
    SELECTED = "selected"
    TRIAL_DECIDED = "trial_decided"
    # train, export
    CHECKPOINT_KEPT = "checkpoint_kept"
    EARLY_STOP = "early_stop"
    BUDGET_SPENT = "budget_spent"
    STEP_CHOSEN = "step_chosen"
    FORMAT_LEFT_OUT = "format_left_out"
    VERIFIED = "verified"

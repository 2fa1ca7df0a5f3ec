"""How far a job is on its way through all its stages, from what its row keeps of that."""

from collections.abc import Iterator

from api.schemas.jobs import JobStage, StageState
from core.database.tables import Job, JobState
from core.jobs.standing import FINISHED
from core.parameters.schedule import STAGES


def stages(job: Job) -> list[JobStage]:
    """Return every stage with its state, the seconds spent in it, and those that are expected of it by now."""
    legs = (job.course or {}).get("stages", {})
    told = dict(_states(job))
    running = _running(job, told)
    rows = []
    for name in STAGES:
        leg, state = legs.get(name, {}), told.get(name)
        if job.state == JobState.SUCCEEDED:
            state = state or "done"
        rows.append(
            JobStage(
                name=name,
                state=state or ("running" if name == running else "waiting"),
                seconds=leg.get("seconds", 0.0),
                expected=leg.get("expected"),
            )
        )
    return rows


def overall(job: Job) -> float:
    """Return the share of the whole job that is done: 1 once it has succeeded, and not before."""
    return 1.0 if job.state == JobState.SUCCEEDED else round((job.course or {}).get("overall", 0.0), 4)


def eta_seconds(job: Job, time: float) -> float | None:
    """Return the seconds that a running job still takes, from this time of the database on."""
    if job.state != JobState.RUNNING or job.eta_seconds is None:
        return None
    return round(max(0.0, job.eta_seconds - max(0.0, time - (job.heartbeat_at or time))), 1)


def _states(job: Job) -> Iterator[tuple[str, StageState]]:
    """Yield the stages that are over; of a job of an older version those that it has stored."""
    if job.course is not None:
        yield from ((name, leg["state"]) for name, leg in job.course["stages"].items() if leg["state"])
    elif job.furthest_stage in STAGES:
        whole = STAGES.index(job.furthest_stage) + (job.furthest_step == FINISHED)
        yield from ((name, "done") for name in STAGES[:whole])


def _running(job: Job, told: dict[str, StageState]) -> str | None:
    """Return the stage in work: an attempt that goes on loads its backbone first, and is told to be preparing."""
    if job.state != JobState.RUNNING:
        return None
    if job.stage in STAGES and job.stage not in told:
        return job.stage
    return next((name for name in STAGES if name not in told), None)

"""Publishing another kept step of a job that has ended: by a job of its own, which takes over all stages but the last.

Its artifacts name what the first job has stored. Such rows are borrowed: they are neither counted nor offered, and are
given back when the job ends, in whatever way. All that it makes lies under keys of its own, and so each of the two is
erased without the other. A job whose source is erased before it has ended fails as source_gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import Session

from core.adapters.card import CARD_FILE
from core.database.tables import Account, Adapter, Artifact, Checkpoint, Job, JobState, Json, Metric
from core.database.tables.jobs import ACTIVE, BORROWED
from core.errors import Conflict, JobFailure, NotFound
from core.jobs import creation
from core.jobs.standing import FINISHED
from core.parameters.schedule import SOURCE, STAGES
from core.settings import Settings

LAST = STAGES[-1]
SAMPLES_FILE = "samples.json"  # of the last stage
TAKEN_OVER = frozenset(f"{SOURCE}/{name}" for name in (CARD_FILE, SAMPLES_FILE))  # and pictures, where there are any
NAMED = {"step": "published_step", "rule": "stop_rule", "reason": "stop_reason"}
# of an outcome, what is so of the step that is published
OF_THE_STEP = {
    *NAMED.values(),
    "cover",
    "formats",
    "formats_left_out",
    "usage",
    "reference_change",
    "heldout_change",
    "forgetting",
}
REASONS = frozenset({"stop", "answers", "forgetting"})
GONE = (
    "The job {job} had kept this step, and it or its model was erased, or something that it had stored was deleted or "
    "damaged, before the step was published. Create the job again, with its seed and its files, for the same steps."
)


def publishable(session: Session, source: Job, checkpoint_id: str) -> Checkpoint:
    """Return a kept step that can be published; NotFound, or Conflict where the state of its job is in the way."""
    if source.state in ACTIVE:
        raise Conflict(
            "The job has not ended; wait until it has succeeded. Until then a kept step can be downloaded by its name.",
            code="job_not_ended",
        )
    if source.published_from_job is not None:
        message = (
            "This job has published a step of another job and kept no other; publish one of the checkpoints of "
            f"{source.published_from_job}."
        )
        raise Conflict(message, code="checkpoint_published", param="checkpoint_id")
    if source.state != JobState.SUCCEEDED:
        message = (
            "The job has ended without an adapter, so there is nothing to publish its steps with. Download what it has "
            "kept, by the names that its list of checkpoints has, or create the job again."
        )
        raise Conflict(message, code="job_not_succeeded", param="job_id")
    adapter = session.scalar(select(Adapter).where(Adapter.job_id == source.id))
    if adapter is not None and adapter.deleted_at is not None:
        raise _gone("The job's model was erased, and its kept steps with it.")
    found = session.scalar(select(Checkpoint).where(Checkpoint.job_id == source.id, Checkpoint.id == checkpoint_id))
    if found is None:
        message = "There is no such checkpoint; the job's list of checkpoints has those that it has kept."
        raise NotFound(message, code="checkpoint_not_found", param="checkpoint_id")
    if adapter is not None and adapter.published_step == found.step:
        message = f"This step is published: it is {adapter.id}. Choose another one of the job's checkpoints."
        raise Conflict(message, code="checkpoint_published", param="checkpoint_id")
    return found


def made_before(session: Session, source: Job, step: int) -> Job | None:
    """Return the job that publishes the step already; None where it came to nothing, or what it made is erased."""
    mine = (Job.published_from_job == source.id) & (Job.published_from_step == step) & Job.deleted_at.is_(None)
    erased = select(Adapter.id).where(Adapter.job_id == Job.id, Adapter.deleted_at.is_not(None)).exists()
    alive = Job.state.in_(ACTIVE) | (Job.state == JobState.SUCCEEDED)
    return session.scalar(select(Job).where(mine, alive, ~erased).order_by(Job.created_at.desc()).limit(1))


def create(
    session: Session,
    source: Job,
    checkpoint: Checkpoint,
    settings: Settings,
    *,
    account: Account,
    course: Json | None = None,
) -> Job:
    """Queue the job that publishes a step; raises Conflict where not all is there, and as core.jobs.creation.create.

    The account is locked; `course` is what is foretold of the job.
    """
    stored = session.scalars(select(Artifact).where(Artifact.job_id == source.id)).all()
    borrowed = [(name, artifact) for artifact in stored if (name := _borrowed_as(artifact)) is not None]
    names = dict(borrowed).keys()
    if not {name.partition("/")[0] for name in names}.issuperset(STAGES[:-1]) or not names >= TAKEN_OVER:
        raise _gone("Not all that the job has stored is there any more; its card may have been deleted.")
    job = _job(source, checkpoint.step, settings)
    job.course = course
    made = sum(artifact.bytes for artifact in stored if artifact.name.startswith(f"{LAST}/"))
    creation.create(session, job, settings, account=account, stores=made + checkpoint.bytes)
    _lend(session, job, borrowed)
    _copy_curves(session, source, job)
    return job


def check_source(session: Session, job: Job) -> None:
    """Raise JobFailure "source_gone" where the job whose step is to be published was erased, or its model."""
    erased = select(Adapter.id).where(Adapter.job_id == Job.id, Adapter.deleted_at.is_not(None)).exists()
    there = select(func.count()).where(Job.id == job.published_from_job, Job.deleted_at.is_(None), ~erased)
    if not session.scalar(there):
        raise source_gone(job)


def source_gone(job: Job) -> JobFailure:
    """Return what ends a job that can't be given all that it publishes from."""
    return JobFailure(GONE.format(job=job.published_from_job), code="source_gone")


def _gone(what: str) -> Conflict:
    advice = "Create it again, with its seed and its files, for the same steps."
    return Conflict(f"{what} {advice}", code="source_gone", param="job_id")


def taken_over(source: Job, step: int) -> Json:
    """Return what is known of the job that publishes a step before it has begun: all that another step changes not."""
    outcome = source.outcome or {}
    named = {name: outcome.get(key) for name, key in NAMED.items()}
    told = {name: value for name, value in outcome.items() if name not in OF_THE_STEP}
    reasons = {name: words for name, words in outcome.get("reasons", {}).items() if name not in REASONS}
    return told | {"reasons": reasons, "published_from": {"job": source.id, "step": step, "named": named}}


def _job(source: Job, step: int, settings: Settings) -> Job:
    return Job(
        account_id=source.account_id,
        backbone=source.backbone,
        request=source.request,
        parameters=source.parameters,
        findings=source.findings,
        training_files=source.training_files,
        validation_file=source.validation_file,
        suffix=source.suffix,
        user_metadata=source.user_metadata,
        seed=source.seed,
        queue=settings.queue,
        outcome=taken_over(source, step),
        published_from_job=source.id,
        published_from_step=step,
        furthest_stage=STAGES[-2],
        furthest_step=FINISHED,
    )


def _borrowed_as(artifact: Artifact) -> str | None:
    """Return under which name a job that publishes a step finds what another has stored; None of what it needs not."""
    stage, _, name = artifact.name.partition("/")
    if artifact.kind == "stage" and stage in STAGES[:-1]:
        return artifact.name
    drawn = artifact.kind == "stage" and (name == SAMPLES_FILE or name.endswith(".png"))
    return f"{SOURCE}/{name}" if stage == LAST and (drawn or artifact.format == "card") else None


def _lend(session: Session, job: Job, borrowed: Sequence[tuple[str, Artifact]]) -> None:
    session.add_all(
        Artifact(
            job_id=job.id,
            name=name,
            attempt=0,
            kind=BORROWED,
            storage_key=artifact.storage_key,
            sha256=artifact.sha256,
            bytes=artifact.bytes,
            created_at=job.created_at,
        )
        for name, artifact in borrowed
    )
    session.flush()


def _copy_curves(session: Session, source: Job, job: Job) -> None:
    """Give the job the curves of the run that its step is of: they stay when the source is erased."""
    columns = [Metric.stage, Metric.step, Metric.attempt, Metric.created_at, Metric.data]
    rows = select(literal(job.id), *columns).where(Metric.job_id == source.id)
    session.execute(insert(Metric).from_select([Metric.job_id, *columns], rows))

"""Jobs to test with: queue one, run one, lose one, and look at what is left."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from core.database.engine import now
from core.database.tables import Account, Adapter, Artifact, Checkpoint, Job, JobEvent, Metric, model_name
from core.jobs import control, creation, dispatch, leases, reports
from core.jobs.leases import Claim
from core.settings import Settings

SETTINGS = Settings(max_retries=2, retry_seconds=10, active_job_limit=1_000_000, jobs_per_minute=1_000_000)
MAX_CRASHES = 3
Sessions = sessionmaker[Session]


def queued(sessions: Sessions, account: str = "acct-1", **fields: object) -> str:
    values: dict[str, object] = {"backbone": "tiny", "request": {}, "training_files": [], "seed": 1, "queue": "gpu"}
    with sessions.begin() as session:
        if session.get(Account, account) is None:
            session.add(Account(id=account, name=account, created_at=now(session)))
            session.flush()
        return creation.create(session, Job(account_id=account, **(values | fields)), SETTINGS).id


def claim(sessions: Sessions, *, worker: str = "w", lease: float = 60, limit: int = 9) -> Job | None:
    with sessions.begin() as session:
        return leases.claim(session, queue="gpu", worker_id=worker, lease_seconds=lease, account_job_limit=limit)


def running(sessions: Sessions, account: str = "acct-1") -> Claim:
    queued(sessions, account)
    job = claim(sessions)
    assert job is not None
    return Claim.of(job)


def get(sessions: Sessions, job_id: str) -> Job:
    with sessions() as session:
        return session.get_one(Job, job_id)


def lose_lease(sessions: Sessions, job_id: str) -> None:
    with sessions.begin() as session:
        session.execute(update(Job).where(Job.id == job_id).values(lease_until=now(session) - 1))


def reap(sessions: Sessions, max_crashes: int = MAX_CRASHES) -> list[str]:
    with sessions.begin() as session:
        return dispatch.reap(session, max_crashes)


def cancel(sessions: Sessions, job_id: str) -> Job:
    with sessions.begin() as session:
        job = session.get_one(Job, job_id)
        control.cancel(session, job)
        return job


def finish(session: Session, held: Claim) -> bool:
    job = session.get_one(Job, held.job_id)
    adapter = Adapter(
        id=model_name(job),
        job_id=job.id,
        account_id=job.account_id,
        backbone="tiny",
        kind="images",
        attempt=held.attempt,
        published_step=5,
    )
    return leases.finish(session, held, adapter, {"published_step": 5}, 7)


def moves(sessions: Sessions, job_id: str) -> list[tuple[str | None, str | None]]:
    with sessions() as session:
        rows = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)).all()
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.message.strip() for row in rows)
    return [(row.from_state, row.to_state) for row in rows if row.to_state]


def saved(sessions: Sessions, held: Claim, stage: str, step: int) -> None:
    with sessions.begin() as session:
        assert reports.replace_saves(session, held, [artifact(reports.SAVE)], (stage, step)) is not None


def crash(sessions: Sessions, job_id: str) -> Job:
    lose_lease(sessions, job_id)
    assert reap(sessions) == [job_id]
    return get(sessions, job_id)


def artifact(kind: str = "stage") -> Artifact:
    return Artifact(name="train/curve.json", kind=kind, storage_key="k", sha256="0", bytes=1)


def checkpoint() -> Checkpoint:
    return Checkpoint(step=5, labels=["published"], storage_key="k", sha256="0", bytes=1, metrics={})


# What a worker can write, each as a question whose answer says whether it was let in.
WRITES: dict[str, Callable[[Session, Claim], object]] = {
    "heartbeat": lambda s, held: leases.heartbeat(s, held, 60, stage="train", step=1),
    "resolve": lambda s, held: leases.resolve(s, held, {"rank": 8}),
    "finish": finish,
    "fail": lambda s, held: leases.fail(s, held, "diverged", "Lower the learning rate."),
    "retry": lambda s, held: leases.retry(s, held, "disk_full", "The disk was full.", SETTINGS),
    "release": leases.release,
    "cancelled": leases.stopped,
    "report": lambda s, held: reports.report(s, held, "Hello."),
    "metrics": lambda s, held: reports.add_metrics(s, held, "train", [{"step": 1, "loss": 0.5}]),
    "artifacts": lambda s, held: reports.add_artifacts(s, held, [artifact()]),
    "stage": lambda s, held: reports.finish_stage(s, held, "prepare", [artifact()]),
    "save": lambda s, held: reports.replace_saves(s, held, [artifact(reports.SAVE)], ("prepare", 1)) is not None,
    "live": lambda s, held: reports.replace_live(s, held, [artifact(reports.LIVE)]) is not None,
    "course": lambda s, held: reports.note_course(s, held, {"overall": 0.5}),
    "knowledge": lambda s, held: reports.know(s, held, {"pool_size": 7}),
    "kept": lambda s, held: reports.keep_step(s, held, checkpoint(), artifact(reports.KEPT), "ft:tiny"),
    "kept anew": lambda s, held: WRITES["kept"](s, held) and reports.keep_none(s, held) == ["k"],
    "checkpoints": lambda s, held: reports.add_checkpoints(s, held, [checkpoint()]),
}


def everything(sessions: Sessions) -> list[tuple[object, ...]]:
    with sessions() as session:
        tables = (Job, JobEvent, Metric, Artifact, Checkpoint, Adapter)
        return [tuple(row) for table in tables for row in session.execute(select(*table.__table__.columns))]

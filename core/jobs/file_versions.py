"""Which versions of its files a job learns from: noted when it is created, for until it ends nobody can edit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database.engine import now
from core.database.tables import File, Job, JobEvent, Json

FILES = "files"  # where the first event of a job has them
BATCH = 10_000  # names in one statement; more is more than some databases take


@dataclass(frozen=True)
class LearnedVersion:
    """A file as a job took it: `changed` says that there is another version of it now, `erased` that there is none."""

    file_id: str
    sha256: str
    changed: bool
    erased: bool


def noted(session: Session, job: Job) -> Json:
    """Return what a new job's first event says of its locked files; one that publishes says what its source says."""
    if job.published_from_job is not None:
        return {FILES: _told(session, [job.published_from_job]).get(job.published_from_job)}
    ids = [*job.training_files, *([job.validation_file] if job.validation_file else [])]
    known = _versions(session, ids)
    return {FILES: [{"id": file_id, "sha256": known[file_id]} for file_id in dict.fromkeys(ids) if file_id in known]}


def learned(session: Session, jobs: Sequence[Job]) -> Mapping[str, list[LearnedVersion]]:
    """Return them of each job, in their order; a job of before they were noted has none. Two queries for all jobs."""
    taken = _told(session, [job.id for job in jobs])
    present = _versions(session, {file["id"] for files in taken.values() for file in files})
    return {
        job_id: [
            LearnedVersion(
                file["id"],
                file["sha256"],
                changed=present.get(file["id"], file["sha256"]) != file["sha256"],
                erased=file["id"] not in present,
            )
            for file in files
        ]
        for job_id, files in taken.items()
    }


def _told(session: Session, job_ids: Sequence[str]) -> dict[str, list[Json]]:
    """Return what the first events of jobs say of their files, where they say anything."""
    first = select(JobEvent.job_id, JobEvent.data).where(JobEvent.job_id.in_(job_ids), JobEvent.seq == 1)
    told = {job_id: (data or {}).get(FILES) for job_id, data in session.execute(first)}
    return {job_id: files for job_id, files in told.items() if files}


def _versions(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Return the hashes of files that there are."""
    found: dict[str, str] = {}
    alive = File.deleted_at.is_(None) & (File.expires_at.is_(None) | (File.expires_at > now(session)))
    for some in _batches(list(ids)):
        for file_id, sha256 in session.execute(select(File.id, File.sha256).where(File.id.in_(some), alive)):
            found[file_id] = sha256
    return found


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(ids), BATCH):
        yield ids[begin : begin + BATCH]

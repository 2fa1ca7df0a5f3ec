"""The small JSON files that a job leaves beside its adapter, and the pictures that they name."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database.tables import Artifact, Job, JobState
from core.database.tables.jobs import BORROWED
from core.errors import NotFound
from core.storage.interface import Storage

Rows = list[dict[str, Any]]


def find(session: Session, job_id: str, filename: str) -> Artifact:
    """Return the newest of the job's artifacts with this file name; NotFound while there is none."""
    mine = (Artifact.job_id == job_id) & (Artifact.kind != BORROWED)
    statement = select(Artifact).where(mine).order_by(Artifact.created_at.desc())
    for artifact in session.scalars(statement):
        if artifact.name.rpartition("/")[2] == filename:
            return artifact
    if session.scalar(select(Job.state).where(Job.id == job_id)) == JobState.SUCCEEDED:
        raise NotFound("This file of the job was deleted.", code="file_deleted")
    raise NotFound("The job has not come so far yet; follow its events.", code="not_ready")


def look(session: Session, job: Job, filename: str) -> Artifact | None:
    """Return the same, or None while there is none; NotFound where the job once had it."""
    try:
        return find(session, job.id, filename)
    except NotFound as error:
        if error.code == "not_ready":
            return None
        raise


def images(session: Session, job_id: str) -> dict[str, Artifact]:
    """Return the job's pictures by file name."""
    artifacts = session.scalars(select(Artifact).where(Artifact.job_id == job_id, Artifact.kind != BORROWED))
    return {a.name.rpartition("/")[2]: a for a in artifacts if a.name.endswith(".png")}


def read(storage: Storage, artifact: Artifact) -> Rows:
    """Return the rows of a JSON artifact, each with its `id`."""
    with storage.open(artifact.storage_key) as file:
        rows: Rows = json.load(file)
    return [{"id": str(number), **row} for number, row in enumerate(rows)]


def decided(storage: Storage, artifact: Artifact | None) -> Mapping[str, Any]:
    """Return what a stage has decided, from the note that it wrote of it; empty while it has written none."""
    if artifact is None:
        return {}
    with storage.open(artifact.storage_key) as file:
        note: dict[str, Any] = json.load(file)
    return note

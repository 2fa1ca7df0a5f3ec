"""Files of finished stages between the job folder and the store, so that another worker can go on from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import events
from core.errors import NotFound, TransientFailure
from core.models import Artifact, Job
from core.storage import Storage, StoredObject, job_key
from worker.folder import DONE, STAGES, FileFact, JobFolder, fact_of
from worker.lease import Lease

UPLOAD_TRIES = 6  # 1 + 2 + 4 + 8 + 16 s: what is trained is not given up for a store that restarts
STAGE_FILE = "stage"


class Delivery:
    """Moves one job's files; `check` is asked between files whether to go on, and raises where not."""

    def __init__(self, job: Job, folder: JobFolder, storage: Storage, check: Callable[[], None]) -> None:
        self._job, self._folder, self._storage, self._check = job, folder, storage, check

    def upload(self, stage: str, lease: Lease) -> None:
        """Store a finished stage and register its files in one transaction; done.json goes last."""
        root = self._folder.stage(stage)
        facts = [*self._folder.facts(stage), fact_of(root, root / DONE)]
        stored = [(f"{stage}/{fact.name}", self._put(stage, root / fact.name, fact)) for fact in facts]
        lease.write(partial(_register, job_id=self._job.id, epoch=self._job.epoch, stored=stored))

    def restore(self, artifacts: Iterable[Artifact]) -> list[str]:
        """Fetch the stages that earlier attempts have finished; returns them. A stage that is not whole is left out."""
        by_stage: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            by_stage.setdefault(artifact.name.partition("/")[0], []).append(artifact)
        for stage in STAGES:
            if stage not in by_stage or not self._fetch(by_stage[stage]) or not self._folder.done(stage):
                break
        return self._folder.finished()

    def _fetch(self, artifacts: list[Artifact]) -> bool:
        try:
            for artifact in artifacts:
                self._check()
                path = self._folder.path / artifact.name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._storage.fetch(artifact.storage_key, path)
        except NotFound:
            return False
        return True

    def _put(self, stage: str, path: Path, fact: FileFact) -> StoredObject:
        key = job_key(self._job.account_id, self._job.id, self._job.epoch, f"{stage}/{fact.name}")
        stored = self._patiently(partial(self._storage.put, key, path))
        if stored.sha256 != fact.sha256:
            raise TransientFailure("The store did not keep a file whole.", code="storage_unavailable")
        return stored

    def _patiently(self, put: Callable[[], StoredObject]) -> StoredObject:
        for attempt in range(UPLOAD_TRIES):
            self._check()
            try:
                return put()
            except TransientFailure:
                if attempt == UPLOAD_TRIES - 1:
                    raise
                self._wait(2.0**attempt)
        raise AssertionError("unreachable")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check()
            time.sleep(0.1)


def stage_artifacts(session: Session, job_id: str) -> list[Artifact]:
    """Return the registered files of a job's finished stages."""
    return list(session.scalars(select(Artifact).where(Artifact.job_id == job_id, Artifact.kind == STAGE_FILE)))


def _register(session: Session, *, job_id: str, epoch: int, stored: list[tuple[str, StoredObject]]) -> bool:
    rows = [
        Artifact(name=name, kind=STAGE_FILE, storage_key=file.key, sha256=file.sha256, bytes=file.bytes)
        for name, file in stored
    ]
    return events.add_artifacts(session, job_id, epoch, rows)

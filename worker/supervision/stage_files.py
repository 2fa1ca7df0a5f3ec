"""Files between the job folder and the store, so that another worker can go on: finished stages, and saves of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database.tables import Artifact, Job
from core.errors import NotFound, TransientFailure
from core.jobs import reports
from core.jobs.leases import Claim
from core.parameters.schedule import STAGES
from core.storage.interface import Storage, StoredObject
from core.storage.keys import job_key
from worker.job_folder import DONE, SAVES, FileFact, JobFolder
from worker.supervision.lease import Lease

UPLOAD_TRIES = 6  # 1 + 2 + 4 + 8 + 16 s: what is trained is not given up for a store that restarts
STAGE_FILE = "stage"

log = logging.getLogger(__name__)


class StageFiles:
    """Moves one job's files: out of the store into the draft of its folder, and into the store out of the folder.

    `check` is asked between files whether to go on, and raises where not.
    """

    def __init__(
        self, job: Job, folder: JobFolder, draft: JobFolder, storage: Storage, check: Callable[[], None]
    ) -> None:
        self._job, self._claim = job, Claim.of(job)
        self._folder, self._draft, self._storage, self._check = folder, draft, storage, check
        self._kept: dict[str, StoredObject] = {}  # what is saved of the stage in work, by the hash of its content
        self._saved = ""  # the save that is stored

    def upload(self, stage: str, lease: Lease) -> None:
        """Store a finished stage and register its files in one transaction; done.json goes last, saves are dropped."""
        facts = [*self._folder.facts(stage), self._folder.fact(stage, DONE)]
        stored = [(name, self._put(name, fact)) for fact in facts for name in [f"{stage}/{fact.name}"]]
        lease.write(partial(_register, claim=self._claim, stage=stage, stored=stored))
        self._replace([], lease)

    def save(self, stage: str, lease: Lease) -> bool:
        """Store where the stage stands, in place of what was saved before; False where that could not be done now.

        What an earlier save holds too is not sent again. A save is a comfort: without it the older one stands.
        """
        path, step = self._folder.saved(stage), lease.step_of(stage)
        if path is None or path.name == self._saved:
            return False
        name = f"{SAVES}/{path.name}"
        try:
            facts = [*self._folder.facts(name), self._folder.fact(name, DONE)]
            stored = [self._kept.get(fact.sha256) or self._put_once(f"{name}/{fact.name}", fact) for fact in facts]
        except (TransientFailure, NotFound, FileNotFoundError) as error:  # or the trainer is past it by now
            log.warning("a save of %s could not be stored: %s", stage, type(error).__name__)
            return False
        rows = [
            Artifact(
                name=f"{name}/{fact.name}",
                kind=reports.SAVE,
                storage_key=file.key,
                sha256=fact.sha256,
                bytes=fact.bytes,
            )
            for fact, file in zip(facts, stored, strict=True)
        ]
        self._replace(rows, lease, at=(stage, step) if step is not None else None)
        self._saved = path.name
        return True

    def _put_once(self, name: str, fact: FileFact) -> StoredObject:
        with self._folder.opened(name) as path:
            stored = self._storage.put(self._key(name), path)
        if stored.sha256 != fact.sha256:
            raise TransientFailure("A file was changed, or not kept whole.", code="storage_unavailable")
        return stored

    def _replace(self, rows: list[Artifact], lease: Lease, at: tuple[str, int] | None = None) -> None:
        """Register a save, or none, and erase what only the one before needed."""
        useless: list[str] = []

        def replace(session: Session) -> bool:
            keys = reports.replace_saves(session, self._claim, rows, at)
            useless[:] = keys or ()
            return keys is not None

        if rows or self._kept:
            lease.write(replace)
        self._kept = {row.sha256: StoredObject(row.storage_key, row.bytes, row.sha256) for row in rows}
        for key in useless:
            with suppress(TransientFailure):  # what is left behind is tidied up after the job's end
                self._storage.delete_prefix(key)

    def restore(self, artifacts: Iterable[Artifact]) -> list[str]:
        """Fetch the stages that earlier attempts have finished, and the newest save; returns the finished stages.

        A stage that is not whole is left out, with all that came after it; so is such a save.
        """
        by_stage: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            by_stage.setdefault(artifact.name.partition("/")[0], []).append(artifact)
        saves = by_stage.pop(SAVES, [])
        self._kept = {row.sha256: StoredObject(row.storage_key, row.bytes, row.sha256) for row in saves}
        for stage in STAGES:
            if stage not in by_stage or not self._fetch(by_stage[stage]) or not self._draft.done(stage):
                break
        if not self._fetch(saves):
            self._draft.forget_saves()
        return self._draft.finished()

    def _fetch(self, artifacts: list[Artifact]) -> bool:
        try:
            for artifact in artifacts:
                self._check()
                path = self._draft.path / artifact.name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._storage.fetch(artifact.storage_key, path)
        except NotFound:
            return False
        return True

    def _put(self, name: str, fact: FileFact) -> StoredObject:
        return self._put_with_patience(partial(self._put_once, name, fact))

    def _key(self, name: str) -> str:
        return job_key(self._job.account_id, self._claim.job_id, self._claim.attempt, name)

    def _put_with_patience(self, put: Callable[[], StoredObject]) -> StoredObject:
        for number in range(UPLOAD_TRIES):
            self._check()
            try:
                return put()
            except TransientFailure:
                if number == UPLOAD_TRIES - 1:
                    raise
                self._wait(2.0**number)
        raise AssertionError("unreachable")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check()
            time.sleep(0.1)


def stage_artifacts(session: Session, job_id: str) -> list[Artifact]:
    """Return the registered files of a job's finished stages."""
    return _artifacts(session, job_id, STAGE_FILE)


def left_behind(session: Session, job_id: str) -> list[Artifact]:
    """Return all that earlier attempts have registered to go on from: finished stages, and the newest save."""
    return _artifacts(session, job_id, STAGE_FILE, reports.SAVE)


def _artifacts(session: Session, job_id: str, *kinds: str) -> list[Artifact]:
    return list(session.scalars(select(Artifact).where(Artifact.job_id == job_id, Artifact.kind.in_(kinds))))


def _register(session: Session, *, claim: Claim, stage: str, stored: list[tuple[str, StoredObject]]) -> bool:
    rows = [_artifact(name, STAGE_FILE, file) for name, file in stored]
    return reports.finish_stage(session, claim, stage, rows)


def _artifact(name: str, kind: str, file: StoredObject) -> Artifact:
    return Artifact(name=name, kind=kind, storage_key=file.key, sha256=file.sha256, bytes=file.bytes)

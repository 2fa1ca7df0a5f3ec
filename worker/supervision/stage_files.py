"""Files between the job folder and the store, so that another worker can go on: finished stages, and saves of one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.database.tables import Artifact, Checkpoint, Job, model_name
from core.database.tables.jobs import BORROWED
from core.errors import NotFound, TransientFailure
from core.jobs import reports
from core.jobs.leases import Claim
from core.parameters.schedule import SOURCE, STAGES
from core.runtime import removal
from core.storage.interface import Storage, StoredObject
from core.storage.keys import job_key
from worker.job_folder import DONE, KEPT, LIVE, SAVES, FileFact, JobFolder, checkpoint_file, step_of
from worker.protocol import Kept, Sampled, Saved
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
        # what is stored of saves, of live samples and of kept steps, by the hash of its content
        self._kept: dict[str, dict[str, StoredObject]] = {reports.SAVE: {}, reports.LIVE: {}, reports.KEPT: {}}
        self._saved = ""  # the save that is stored

    def upload(self, stage: str, lease: Lease) -> None:
        """Store a finished stage and register its files in one transaction; done.json goes last, saves are dropped."""
        facts = [*self._folder.facts(stage), self._folder.fact(stage, DONE)]
        known, useless = self._kept[reports.KEPT], list[str]()
        stored = [
            (name, known.get(fact.sha256) or self._put(name, fact))
            for fact in facts
            for name in [f"{stage}/{fact.name}"]
        ]
        lease.write(partial(_register, claim=self._claim, stage=stage, stored=stored, useless=useless))
        self._replace([], lease)
        self._erase(useless)

    def take(self, line: Saved | Sampled | Kept, lease: Lease) -> None:
        """Store what the trainer says that there is."""
        match line:
            case Saved():
                self.save(line.stage, lease)
            case Sampled():
                self.show(lease)
            case Kept():
                self.keep(line, lease)

    def save(self, stage: str, lease: Lease) -> bool:
        """Store where the stage stands, in place of what was saved before; False where that could not be done now.

        What an earlier save holds too is not sent again. A save is a comfort: without it the older one stands.
        """
        path, step = self._folder.saved(stage), lease.step_of(stage)
        if path is None or path.name == self._saved:
            return False
        rows = self._sent(reports.SAVE, f"{SAVES}/{path.name}")
        if rows is None:
            return False
        self._replace(rows, lease, at=(stage, step) if step is not None else None)
        self._saved = path.name
        return True

    def show(self, lease: Lease) -> bool:
        """Store the samples that there are by now, to be looked at, in place of those before; as `save`."""
        rows = self._sent(reports.LIVE, LIVE)
        if rows is None:
            return False
        self._replace(rows, lease, reports.LIVE)
        return True

    def keep(self, line: Kept, lease: Lease) -> bool:
        """Store a kept step and list it, or list none where a run begins; one that can't be stored is there later."""
        if not line.step:
            self._keep_none(lease)
            return True
        file = checkpoint_file(line.step)
        try:
            fact = self._folder.fact(KEPT, file)
            stored = self._kept[reports.KEPT].get(fact.sha256) or self._put_once(f"{KEPT}/{file}", fact)
        except (TransientFailure, NotFound, FileNotFoundError) as error:
            log.warning("a kept step could not be stored: %s", type(error).__name__)
            return False
        artifact = _artifact(f"{KEPT}/{file}", reports.KEPT, stored)
        told = Checkpoint(
            step=line.step,
            labels=[],
            metrics=line.metrics,
            storage_key=stored.key,
            sha256=stored.sha256,
            bytes=stored.bytes,
        )
        name = model_name(self._job)
        lease.write(partial(reports.keep_step, claim=self._claim, checkpoint=told, file=artifact, name=name))
        self._kept[reports.KEPT][stored.sha256] = stored
        return True

    def _keep_none(self, lease: Lease) -> None:
        useless: list[str] = []

        def begin(session: Session) -> bool:
            keys = reports.keep_none(session, self._claim)
            useless[:] = keys or ()
            return keys is not None

        lease.write(begin)
        self._kept[reports.KEPT] = {}
        self._erase(useless)

    def _sent(self, kind: str, name: str) -> list[Artifact] | None:
        """Store the files of a folder, of which some may be there; returns their rows, None where one can't be stored.

        What is shown grows under the same names, so that a key says also which content it holds.
        """
        try:
            facts = [*self._folder.facts(name), self._folder.fact(name, DONE)]
            stored = [
                self._kept[kind].get(fact.sha256)
                or self._put_once(
                    f"{name}/{fact.name}", fact, f"{fact.sha256[:16]}-" * (kind == reports.LIVE) + fact.name
                )
                for fact in facts
            ]
        except (TransientFailure, NotFound, FileNotFoundError) as error:  # or the trainer is past it by now
            log.warning("%s could not be stored: %s", name, type(error).__name__)
            return None
        return [_artifact(f"{name}/{fact.name}", kind, file) for fact, file in zip(facts, stored, strict=True)]

    def _put_once(self, name: str, fact: FileFact, stored_as: str | None = None) -> StoredObject:
        with self._folder.opened(name) as path:
            stored = self._storage.put(self._key(f"{name.rpartition('/')[0]}/{stored_as}" if stored_as else name), path)
        if stored.sha256 != fact.sha256:
            raise TransientFailure("A file was changed, or not kept whole.", code="storage_unavailable")
        return stored

    def _replace(
        self, rows: list[Artifact], lease: Lease, kind: str = reports.SAVE, at: tuple[str, int] | None = None
    ) -> None:
        """Register a save or what is shown, or none, and erase what only the one before needed."""
        useless: list[str] = []

        def replace(session: Session) -> bool:
            if kind == reports.SAVE:
                keys = reports.replace_saves(session, self._claim, rows, at)
            else:
                keys = reports.replace_live(session, self._claim, rows)
            useless[:] = keys or ()
            return keys is not None

        if rows or self._kept[kind]:
            lease.write(replace)
        self._kept[kind] = _by_content(rows)
        self._erase(useless)

    def _erase(self, keys: Iterable[str]) -> None:
        for key in keys:
            with suppress(TransientFailure):  # what is left behind is tidied up after the job's end
                self._storage.delete_prefix(key)

    def restore(self, artifacts: Iterable[Artifact]) -> list[str]:
        """Fetch the stages that earlier attempts have finished, the newest save and what was shown; returns the stages.

        A stage that is not whole is left out, with all that came after it; so is such a save, or what was shown, or
        what is taken over of the last stage of another job.
        """
        by_stage: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            by_stage.setdefault(artifact.name.partition("/")[0], []).append(artifact)
        # kept steps are in the save too
        saves, shown, kept, source = (by_stage.pop(name, []) for name in (SAVES, LIVE, KEPT, SOURCE))
        self._kept = {
            reports.SAVE: _by_content(saves),
            reports.LIVE: _by_content(shown),
            reports.KEPT: _by_content(kept),
        }
        for stage in STAGES:
            if stage not in by_stage or not self._fetch(by_stage[stage]) or not self._draft.done(stage):
                break
        if not self._fetch(saves):
            self._draft.forget_saves()
        if not self._fetch(shown):
            removal.remove(self._draft.live)
        if not self._fetch(source):
            removal.remove(self._draft.source)
        return self._draft.finished()

    def _fetch(self, artifacts: list[Artifact]) -> bool:
        try:
            for artifact in artifacts:
                self._check()
                path = self._draft.path / artifact.name
                path.parent.mkdir(parents=True, exist_ok=True)
                if self._storage.fetch(artifact.storage_key, path).sha256 != artifact.sha256:
                    return False
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
    """Return all that there is to go on from: finished stages, a save, what was shown, and what others have lent."""
    return _artifacts(session, job_id, STAGE_FILE, reports.SAVE, reports.LIVE, reports.KEPT, BORROWED)


def _artifacts(session: Session, job_id: str, *kinds: str) -> list[Artifact]:
    return list(session.scalars(select(Artifact).where(Artifact.job_id == job_id, Artifact.kind.in_(kinds))))


def _register(
    session: Session, *, claim: Claim, stage: str, stored: list[tuple[str, StoredObject]], useless: list[str]
) -> bool:
    """Register a finished stage, and let kept steps be files of it; `useless` is filled with what they were before."""
    rows = [_artifact(name, STAGE_FILE, file) for name, file in stored]
    if not reports.finish_stage(session, claim, stage, rows):
        return False
    if steps := {step: row for row in rows if (step := step_of(row.name)) is not None}:
        useless[:] = reports.settle_kept_steps(session, claim, steps)
    return True


def _artifact(name: str, kind: str, file: StoredObject) -> Artifact:
    return Artifact(name=name, kind=kind, storage_key=file.key, sha256=file.sha256, bytes=file.bytes)


def _by_content(rows: Iterable[Artifact]) -> dict[str, StoredObject]:
    return {row.sha256: StoredObject(row.storage_key, row.bytes, row.sha256) for row in rows}

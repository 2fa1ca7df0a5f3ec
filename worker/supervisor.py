"""One job from claim to end: inputs in, the trainer driven, its stages stored, its result published once.

Never imports torch. Every write carries the epoch of the claim, so a supervisor that has lost its lease changes
nothing, whatever it does.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.orm import Session, sessionmaker

from core import events, jobs
from core.backbones import BackboneRecord, Registry
from core.errors import JobFailure, NotFound, TransientFailure
from core.models import File, Job, JobState
from core.references import References, write_folder
from core.settings import Settings
from core.storage import Storage
from worker import inputs
from worker.delivery import Delivery, stage_artifacts
from worker.faults import DISK_FULL, UNEXPECTED, disk_full
from worker.folder import STAGES, JobFolder
from worker.lease import Fenced, Lease, Position
from worker.process import Trainer, TrainerDied, WarmTrainer
from worker.protocol import Failed, Finished, Json, Line, Message, Metrics, Progress, StageDone
from worker.publishing import publish

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
METRICS_SECONDS = 1.0
LOADING_PATIENCE = 3
CRASHED = "The trainer process was lost."
STALLED = "The trainer made no progress for {:.0f} s and was stopped."
DELETED = "A training file was deleted. Upload it again and create a new job."
OVERDUE = "The job's deadline passed. Create it again with a later one, or with fewer max_steps."


class Cancelled(Exception):
    """The owner wants the job to end."""


class Draining(Exception):
    """The worker is shutting down."""


@dataclass(frozen=True)
class Workplace:
    """What a worker process has for all of its jobs."""

    settings: Settings
    sessions: sessionmaker[Session]
    storage: Storage
    trainer: WarmTrainer
    worker_id: str
    draining: Callable[[], bool]


@dataclass
class Curves:
    """Metrics that wait to be written, by stage."""

    rows: dict[str, list[Json]] = field(default_factory=dict)
    written: float = field(default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Tell whether it is time to write them."""
        return bool(self.rows) and time.monotonic() - self.written > METRICS_SECONDS


class Supervisor:
    """Runs one claimed job. `run` never raises for the job's sake: it moves the job to where it belongs."""

    def __init__(self, job: Job, place: Workplace) -> None:
        self.job, self.place, self.settings = job, place, place.settings
        self.folder = attempt_folder(place.settings, job.id, job.epoch)
        self.lease = Lease(place.sessions, job.id, job.epoch, place.settings)
        self._trainer: Trainer | None = None
        self._curves = Curves()

    def run(self) -> None:
        """Work until the job has ended, has been given back, or belongs to somebody else."""
        with self.lease:
            try:
                self._end(self._work)
            except Fenced:
                log.warning("%s: the lease was lost; this attempt ends silently", self.job.id)
                self.place.trainer.discard()
            finally:
                self.folder.remove()
                self.place.trainer.rest()

    def _end(self, work: Callable[[], None]) -> None:
        """Do the work and move the job for every way in which it can stop."""
        job_id, epoch = self.job.id, self.job.epoch
        try:
            work()
        except Cancelled:
            self._leave()
            self.lease.write(lambda session: jobs.cancelled(session, job_id, epoch))
        except Draining:
            self._leave()
            self.lease.write(lambda session: jobs.release(session, job_id, epoch))
        except TransientFailure as error:
            self._retry(error.code, error.message)
        except JobFailure as error:
            failure = error  # the name of an except clause is gone when the lambda runs
            self._leave()
            self.lease.write(
                lambda session: jobs.fail(session, job_id, epoch, failure.code, failure.message, failure.param)
            )
        except TrainerDied as error:
            log.warning("%s: %s", job_id, error)
            self._retry("worker_crashed", CRASHED)
        except Fenced:
            raise
        except Exception as error:
            if disk_full(error):
                log.warning("%s: the disk is full", job_id)
                self._retry("disk_full", DISK_FULL)
            else:
                log.exception("%s: an error that nobody expected", job_id)
                self._retry("internal_error", UNEXPECTED)

    def _retry(self, code: str, message: str) -> None:
        self.place.trainer.discard()
        self.lease.write(lambda session: jobs.retry(session, self.job.id, self.job.epoch, code, message, self.settings))

    def _leave(self) -> None:
        """Have the trainer leave the job; one that does not within the grace is killed."""
        if self._trainer is not None and self._trainer.alive:
            self._trainer.stop(self.settings.cancel_grace_seconds)

    def _work(self) -> None:
        self._clear_older_attempts()
        record = self._backbone()
        self._write_inputs(record)
        delivery = Delivery(self.job, self.folder, self.place.storage, self._check)
        done = delivery.restore(self.lease.read(lambda session: stage_artifacts(session, self.job.id)))
        if done:
            self._say(f"Going on after {done[-1]}: what earlier attempts finished is still good.")
        if len(done) < len(STAGES):
            self._train(record, delivery)
        publish(self.job, self.folder, self.lease)

    def _train(self, record: BackboneRecord, delivery: Delivery) -> None:
        """Drive the trainer through the stages that are left, storing each as it is finished."""
        self._trainer = trainer = self.place.trainer.take(f"{record.id} {record.revision}")
        trainer.run(self.folder.path)
        heard = time.monotonic()
        while True:
            self._check()
            line = trainer.receive(POLL_SECONDS)
            if self._curves.due or isinstance(line, StageDone | Finished):
                self._write_curves()
            if line is not None:
                heard = time.monotonic()
                if isinstance(line, Finished):
                    self._trainer = None
                    return
                self._take(line, delivery)
            elif time.monotonic() - heard > self._patience:
                trainer.dump_and_kill()
                raise TransientFailure(STALLED.format(self._patience), code="worker_crashed")

    @property
    def _patience(self) -> float:
        """Return how long the trainer may be silent, in seconds; loading a backbone is one long step."""
        return self.settings.stall_seconds * (LOADING_PATIENCE if self.lease.stage == "prepare" else 1)

    def _take(self, line: Line, delivery: Delivery) -> None:
        match line:
            case Progress():
                share = min(1.0, line.step / line.total) if line.total else 0.0
                self.lease.move(Position(line.stage, line.step, share, line.eta_seconds))
            case Metrics():
                self._curves.rows.setdefault(line.stage, []).extend(line.rows)
            case Message():
                self._say(line.text, line)
            case StageDone():
                delivery.upload(line.stage, self.lease)
            case Failed():
                self._fail(line)

    def _fail(self, line: Failed) -> None:
        if line.exhausted:
            self.place.trainer.discard()
        self._trainer = None
        if line.transient:
            raise TransientFailure(line.message, code=line.code)
        raise JobFailure(line.message, code=line.code, param=line.param)

    def _check(self) -> None:
        """Raise for whatever must stop the work."""
        self.lease.check()
        if self.lease.cancel_requested:
            raise Cancelled
        if self.place.draining():
            raise Draining
        if self.lease.overdue:
            raise JobFailure(OVERDUE, code="deadline_exceeded")

    def _say(self, text: str, line: Message | None = None) -> None:
        level, data, stage = (line.level, line.data, line.stage) if line else ("info", None, None)
        self.lease.write(
            lambda session: events.report(
                session, self.job.id, self.job.epoch, text, level=level, data=data, stage=stage
            )
        )

    def _write_curves(self) -> None:
        waiting, self._curves = self._curves, Curves()
        for stage, rows in waiting.rows.items():
            self.lease.write(
                partial(events.add_metrics, job_id=self.job.id, epoch=self.job.epoch, stage=stage, rows=rows)
            )

    def _backbone(self) -> BackboneRecord:
        registry = Registry.load(self.settings)
        try:
            record = registry.get(self.job.backbone)
        except NotFound as error:
            raise JobFailure(error.message, code="backbone_unavailable", param="model") from error
        registry.verify(record)
        return record

    def _write_inputs(self, record: BackboneRecord) -> None:
        """Fill the job folder with the references and all that the stages need to know."""
        trigger = inputs.requested(self.job)[0].trigger
        read = inputs.captioned(self._references(self.job.training_files), record, trigger)
        parameters = inputs.resolve_parameters(self.job, record, read, self.settings)
        content = parameters.model_dump(mode="json")
        self.lease.write(lambda session: jobs.resolve(session, self.job.id, self.job.epoch, content))
        self.folder.write_spec(inputs.specification(record, parameters, self.settings, self.job.suffix))
        write_folder(read, self.folder.references)
        if self.job.validation_file:
            validation = inputs.captioned(self._references([self.job.validation_file]), record, trigger)
            write_folder(validation, self.folder.validation)

    def _references(self, file_ids: list[str]) -> References:
        files = self.lease.read(lambda session: [session.get(File, file_id) for file_id in file_ids])
        if any(file is None or file.deleted_at is not None for file in files):
            raise JobFailure(DELETED, code="invalid_training_file", param="training_file")
        present = [file for file in files if file is not None]
        return inputs.fetch_references(present, self.place.storage, self.settings, self._check)

    def _clear_older_attempts(self) -> None:
        """Erase what this job's dead attempts left on this machine."""
        for epoch in range(1, self.job.epoch + 1):
            attempt_folder(self.settings, self.job.id, epoch).remove()


def attempt_folder(settings: Settings, job_id: str, epoch: int) -> JobFolder:
    """Return where an attempt at a job works."""
    return JobFolder(settings.data / "work" / f"{job_id}-e{epoch}")


def sweep(place: Workplace) -> None:
    """Erase the folders of attempts that are over: references are private, and a killed worker leaves them."""
    for path in (place.settings.data / "work").glob("ftjob-*-e*"):
        job_id, _, epoch = path.name.rpartition("-e")
        with place.sessions() as session:
            job = session.get(Job, job_id)
        # an attempt's folder is made after its claim is committed, and epochs only grow
        if job is None or job.state != JobState.RUNNING or str(job.epoch) != epoch:
            shutil.rmtree(path, ignore_errors=True)

"""One job from claim to end: inputs in, the trainer driven, its stages stored, its result published once.

Never imports torch. Every write carries the claim, so a supervisor that has lost its lease changes nothing, whatever it
does.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from core.backbones.record import BackboneRecord
from core.backbones.registry import Registry
from core.database import counters
from core.database.tables import Job
from core.errors import JobFailure, NotFound, TransientFailure
from core.estimates.estimator import Estimator
from core.jobs import leases, reports
from core.jobs.event_codes import EventCode
from core.jobs.leases import Claim
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.runtime import logs
from worker.device import hardware
from worker.protocol import (
    DeviceUse,
    Failed,
    Finished,
    Kept,
    Known,
    Line,
    Message,
    Metrics,
    Progress,
    Sampled,
    Saved,
    StageDone,
)
from worker.supervision import interruptions
from worker.supervision.attempt_folders import attempt_folder, cage, clear_older, draft_folder
from worker.supervision.attempt_inputs import AttemptInputs
from worker.supervision.curves import Curves
from worker.supervision.gpu.health import GOES_ON, JOB_FAULT, OutOfService
from worker.supervision.gpu.memory import DeviceMemory
from worker.supervision.gpu.seconds import GpuTimer
from worker.supervision.interruptions import Draining, NeedsChange, StopRequested
from worker.supervision.lease import Lease, LeaseLost
from worker.supervision.pool_encoding import TELLING, PoolEncoding
from worker.supervision.publishing import publish
from worker.supervision.stage_files import StageFiles, left_behind
from worker.supervision.workplace import Workplace
from worker.trainer.failures import DISK_FULL, GPU_CODES, UNEXPECTED, disk_full
from worker.trainer.process import Trainer, TrainerDied

log = logging.getLogger(__name__)
POLL_SECONDS = 0.2
LOADING_FACTOR = 3  # so much longer than elsewhere a trainer may be silent while it loads a backbone
CRASH, CRASHED = "worker_crashed", "The trainer process was lost."
STALLED = "The trainer made no progress for {:.0f} s and was stopped."
BUDGET_SPENT = (
    "The job used up the {:.0f} GPU seconds that it may spend. Create it again with fewer max_steps or references."
)
OVERDUE = "The job's deadline passed. Create it again with a later one, or with fewer max_steps."


class Supervisor:
    """Runs one claimed job. `run` never raises for the job's sake: it moves the job to where it belongs."""

    def __init__(self, job: Job, place: Workplace) -> None:
        self.job, self.place, self.settings = job, place, place.settings
        self.claim = Claim.of(job)
        self.folder = attempt_folder(place.settings, job.account_id, self.claim)
        self.lease = Lease(place.sessions, self.claim, place.settings)
        self._draft = draft_folder(place.settings, self.claim)
        self._inputs = AttemptInputs(job, place, self._draft, self.folder, self.lease, self._check)
        self._stage_files = StageFiles(job, self.folder, self._draft, place.storage, self._check)
        self._gpu_timer = GpuTimer(job)
        self._device_memory = DeviceMemory(place.sessions, place.worker_id)
        self._trainer: Trainer | None = None
        self._heard: Line | None = None  # by the trainer, and not dealt with yet
        self._leaving = math.inf  # until when what was done is stored, once the job is to stop
        self._curves = Curves()
        self._began = time.monotonic()

    def run(self) -> None:
        """Work until the job has ended, has been given back, or belongs to somebody else."""
        with logs.bound(job=self.job.id), self.lease:
            try:
                self._work_to_an_end()
            except LeaseLost:
                log.warning("the lease was lost; this attempt ends silently")
                self.place.trainer.discard()
                self._count_late()
            finally:
                self._gpu_timer.stop(self.place.sessions)
                self._draft.remove()
                self.folder.remove()
                self.place.trainer.rest()

    def _work_to_an_end(self) -> None:
        """Do the work and move the job for every way in which it can stop."""
        try:
            self._work()
        except StopRequested:
            self._stop_trainer(save=self.lease.pause_requested)
            self.lease.write(lambda session: leases.stopped(session, self.claim))
        except Draining:
            self._stop_trainer(save=True)
            self.lease.write(lambda session: leases.release(session, self.claim))
        except NeedsChange as error:
            adjust = partial(leases.adjust, claim=self.claim, changes=error.changes, words=error.words)
            self._stop_trainer()
            self.lease.write(adjust)
        except OutOfService:
            self._leave_to_others()
        except TransientFailure as error:
            self._retry(error.code, error.message)
        except JobFailure as error:
            failure = error  # the name of an except clause is gone when the lambda runs
            self._stop_trainer()
            self.lease.write(
                lambda session: leases.fail(session, self.claim, failure.code, failure.message, failure.param)
            )
        except TrainerDied as error:
            log.warning("%s", error)
            self._retry(CRASH, CRASHED)
        except LeaseLost:
            raise
        except Exception as error:
            self._handle_unexpected(error)

    def _handle_unexpected(self, error: Exception) -> None:
        if disk_full(error):
            log.warning("the disk is full")
            self._retry("disk_full", DISK_FULL)
        else:
            log.error("an error that nobody expected", exc_info=error)
            self._retry("internal_error", UNEXPECTED)

    def _leave_to_others(self) -> None:
        self.place.trainer.discard()
        self.lease.write(partial(leases.release, claim=self.claim, words=GOES_ON))

    def _retry(self, code: str, message: str) -> None:
        self.place.trainer.discard()
        try:
            if code == CRASH:  # a GPU that hangs or ends its processes says nothing by them
                self.place.health.tried()
        except OutOfService:
            self._leave_to_others()
            return
        self.lease.write(lambda session: leases.retry(session, self.claim, code, message, self.settings))

    def _stop_trainer(self, *, save: bool = False) -> None:
        """Have the trainer leave the job, and store what it has saved; one that does not within the grace is killed."""
        if self._trainer is None or not self._trainer.alive:
            return
        self.lease.note(self._measurement.course())
        if not save:
            self._trainer.stop(self.settings.cancel_grace_seconds, lambda line: None)
            return
        self._leaving = time.monotonic() + self.settings.cancel_grace_seconds
        self._keep(self._heard)
        if self._trainer.stop(self.settings.cancel_grace_seconds, self._keep):
            self._stage_files.save(self.lease.stage, self.lease)

    def _keep(self, line: Line | None) -> None:
        """Store what a trainer that is to stop has done until then, so that the next attempt need not do it again."""
        if isinstance(line, Progress | StageDone | Saved):
            with suppress(TransientFailure, StopRequested):
                self._handle(line)

    def _work(self) -> None:
        clear_older(self.settings, self.job.account_id, self.claim)
        record = self._backbone()
        self._measurement = self._inputs.write(record)
        done = self._stage_files.restore(self.lease.read(lambda session: left_behind(session, self.job.id)))
        self._inputs.check_taken_over(done)
        estimator = self.lease.read(lambda session: Estimator.of(session, record, hardware(self.settings)))
        self.lease.move(self._measurement.foretell(estimator, self.job.course, done))
        self._draft.move(self.folder)
        if done:
            self._report(self._inputs.went_on(done[-1]))
        if len(done) < len(STAGES):
            self._train(record)
        publish(self.job, self.folder, self.lease)
        self._measurement.keep(self.place.sessions, self.job.id, record, time.monotonic() - self._began, self.folder)

    def _train(self, record: BackboneRecord) -> None:
        """Drive the trainer through the stages that are left, storing each as it is finished."""
        self._write_curves()  # which ends a job whose earlier attempts have spent all
        if self.job.published_from_job is None:  # such a job needs no more than the backbone
            self._encode_pool(record)
        own = cage(self.settings, self.job.account_id)
        self._trainer = trainer = self.place.trainer.take(f"{record.id} {record.revision}", own)
        trainer.run(self.folder.path)
        self._follow(trainer)
        self.place.health.computed()
        if (told := self._device_memory.told()) is not None:
            self._report(Message(self.lease.stage, told, code=EventCode.MEMORY))

    def _encode_pool(self, record: BackboneRecord) -> None:
        """Have the backbone's data encoded for all, where that is not done yet."""
        parameters = Parameters.model_validate(self.folder.spec()["parameters"])
        encoding = PoolEncoding(record, parameters, self._inputs.day, self.settings)
        if encoding.missing:
            self.place.trainer.discard()  # a GPU does not hold two backbones
            self._report(Message(STAGES[0], TELLING.format(record.id), code=EventCode.ENCODING_POOL))
            began = time.monotonic()
            with encoding.trainer() as trainer:
                self._follow(trainer)
            self._measurement.encoded(self.lease.progress)
            self._began += time.monotonic() - began  # once for all jobs: no measure of what this one took

    def _follow(self, trainer: Trainer) -> None:
        """Heed what a trainer says until it has finished."""
        last_heard = time.monotonic()
        while True:
            self._check()
            line = trainer.receive(POLL_SECONDS)
            self._gpu_timer.run(self.lease.stage)
            if self._curves.due or isinstance(line, StageDone | Saved | Finished):
                self._write_curves()  # before what it was spent on counts as progress
            if line is not None:
                last_heard = time.monotonic()
                if isinstance(line, Finished):
                    self._trainer = None
                    return
                if isinstance(line, Failed) and line.exhausted:
                    trainer.kill()  # also one that only encodes: before the GPU is tried, it lets go of it
                self._heard = line
                self._handle(line)
                self._heard = None
            elif time.monotonic() - last_heard > self._silence_limit:
                trainer.dump_and_kill()
                raise TransientFailure(STALLED.format(self._silence_limit), code=CRASH)

    @property
    def _silence_limit(self) -> float:
        """Return how long the trainer may be silent, in seconds; loading a backbone is one long step."""
        return self.settings.stall_seconds * (LOADING_FACTOR if self.lease.stage == "prepare" else 1)

    def _handle(self, line: Line) -> None:
        match line:
            case Progress():
                self.lease.move(self._measurement.position(line))
            case Metrics():
                self._curves.rows.setdefault(line.stage, []).extend(line.rows)
            case Message():
                self._report(line)
            case DeviceUse():
                self._device_memory.note(line, self.lease.stage)
            case Known():
                self.lease.write(partial(reports.know, claim=self.claim, facts=line.facts))
            case StageDone():
                self._measurement.note(line)
                self._stage_files.upload(line.stage, self.lease)
                self.lease.note(self._measurement.course())
            case Saved() | Sampled() | Kept():
                self._stage_files.take(line, self.lease)
            case Failed():
                self._handle_failure(line)

    def _handle_failure(self, line: Failed) -> None:
        if line.exhausted:
            self.place.trainer.discard()
        self._trainer = None
        if line.code == "diverged":
            interruptions.halve_learning_rate(self.folder.spec()["parameters"])
        if line.code in GPU_CODES and not self.place.health.faulty(self.job.id, line.code):
            raise JobFailure(JOB_FAULT, code=line.code)
        if line.transient:
            raise TransientFailure(line.message, code=line.code)
        raise JobFailure(line.message, code=line.code, param=line.param)

    def _check(self) -> None:
        """Raise for whatever must stop the work."""
        self.lease.check()
        if self._leaving < math.inf:
            if time.monotonic() < self._leaving:
                return
            raise StopRequested
        if self.lease.cancel_requested or self.lease.pause_requested:
            raise StopRequested
        if self.place.draining():
            raise Draining
        if self.lease.overdue:
            raise JobFailure(OVERDUE, code="deadline_exceeded")

    def _report(self, line: Message) -> None:
        told = {name: value for name, value in vars(line).items() if name != "text"}
        self.lease.write(lambda session: reports.report(session, self.claim, line.text, **told))

    def _write_curves(self) -> None:
        waiting, self._curves = self._curves, Curves()
        spent = self.lease.read(self._gpu_timer.write)
        if 0 < self.job.reserved_seconds < spent:
            raise JobFailure(BUDGET_SPENT.format(self.job.reserved_seconds), code="deadline_exceeded")
        for stage, rows in waiting.rows.items():
            self.lease.write(partial(reports.add_metrics, claim=self.claim, stage=stage, rows=rows))

    def _count_late(self) -> None:
        with suppress(SQLAlchemyError), self.place.sessions.begin() as session:
            counters.add(session, counters.LATE_WRITERS)

    def _backbone(self) -> BackboneRecord:
        registry = Registry.load(self.settings)
        try:
            record = registry.get(self.job.backbone)
        except NotFound as error:
            raise JobFailure(error.message, code="backbone_unavailable", param="model") from error
        registry.verify(record)
        return record

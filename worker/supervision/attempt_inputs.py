"""The folder of an attempt, filled with its references and all that the stages need to know before a trainer begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.backbones.record import BackboneRecord
from core.backbones.taggers import NONE
from core.database.tables import File, Job
from core.errors import JobFailure
from core.jobs import leases, publishing
from core.jobs.event_codes import EventCode
from core.jobs.leases import Claim
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.references.items import References
from core.references.packing import write_folder
from worker.device import hardware
from worker.job_folder import JobFolder
from worker.protocol import Json, Message
from worker.supervision import inputs
from worker.supervision.job_measurement import JobMeasurement
from worker.supervision.lease import Lease
from worker.supervision.pool_encoding import kept_apart
from worker.supervision.workplace import Workplace

FILE_DELETED = "A training file was deleted. Upload it again and create a new job."


@dataclass(frozen=True)
class AttemptInputs:
    """What one attempt at a job starts from; `check` raises for whatever must stop the work."""

    job: Job
    place: Workplace
    draft: JobFolder  # which is filled, and becomes the folder then
    folder: JobFolder
    lease: Lease
    check: Callable[[], None]

    @property
    def day(self) -> date:
        """The day on which the job was created."""
        return datetime.fromtimestamp(self.job.created_at, UTC).date()

    def write(self, record: BackboneRecord) -> JobMeasurement:
        """Fill the draft, and settle the job's parameters; raises JobFailure where its files are of no use."""
        if self.job.published_from_job is not None:
            return self._write_chosen(record)
        settings, claim = self.place.settings, Claim.of(self.job)
        given = inputs.writable(self._references(self.job.training_files), record)
        parameters = inputs.resolve_parameters(self.job, record, given, settings)
        content = parameters.model_dump(mode="json")
        self.lease.write(lambda session: leases.resolve(session, claim, content))
        self.draft.write_spec(self._specification(record, parameters) | {"live_share": settings.live_share})
        read = inputs.caption_references(given, record, parameters)
        write_folder(read, self.draft.references)
        heldout = self._references([self.job.validation_file]) if self.job.validation_file else None
        if heldout is not None:
            heldout = inputs.writable(heldout, record, "validation_file")
            write_folder(inputs.caption_references(heldout, record, parameters), self.draft.validation)
        return JobMeasurement(hardware(settings), parameters, read, len(heldout.items) if heldout else 0)

    def _write_chosen(self, record: BackboneRecord) -> JobMeasurement:
        """Fill the draft of a job that publishes a kept step: what was learned from is not looked at again."""
        self.lease.read(lambda session: publishing.check_source(session, self.job))
        parameters = Parameters.model_validate(self.job.parameters).model_copy(update={"caption": NONE})
        told = {"publish_step": self.job.published_from_step, "outcome": self.job.outcome}
        self.draft.write_spec(self._specification(record, parameters) | told)
        return JobMeasurement(hardware(self.place.settings), parameters, References(parameters.kind, ()), chosen=True)

    def check_taken_over(self, done: Sequence[str]) -> None:
        """Raise JobFailure "source_gone" where the draft of such a job has not all that it is made of."""
        if self.job.published_from_job is not None:
            left = [stage for stage in STAGES[:-1] if stage not in done]
            if left or not all((self.draft.path / name).is_file() for name in publishing.TAKEN_OVER):
                raise publishing.source_gone(self.job)

    def went_on(self, stage: str) -> Message:
        """Say up to which stage what is stored is still good, and whose that is."""
        if self.job.published_from_job is None or stage == STAGES[-1]:
            words = f"Going on after {stage}: what earlier attempts finished is still good."
            return Message(stage, words, code=EventCode.WENT_ON)
        chosen = {"job": self.job.published_from_job, "step": self.job.published_from_step}
        words = "Publishing step {step} of {job}: it is as that job has kept it, and nothing is trained."
        return Message(stage, words.format(**chosen), data=chosen, code=EventCode.TAKEN_OVER)

    def _specification(self, record: BackboneRecord, parameters: Parameters) -> Json:
        settings = self.place.settings
        own_pools = self.folder.pools if kept_apart(settings) else None
        return inputs.specification(record, parameters, settings, self.job.suffix, self.day, own_pools)

    def _references(self, file_ids: list[str]) -> References:
        files = self.lease.read(lambda session: [session.get(File, file_id) for file_id in file_ids])
        if any(file is None or file.deleted_at is not None for file in files):
            raise JobFailure(FILE_DELETED, code="invalid_training_file", param="training_file")
        present = [file for file in files if file is not None]
        return inputs.fetch_references(
            present, self.place.storage, self.place.settings, self.draft.incoming, self.check
        )

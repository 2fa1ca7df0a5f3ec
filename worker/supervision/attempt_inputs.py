"""The folder of an attempt, filled with its references and all that the stages need to know before a trainer begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from core.backbones.record import BackboneRecord
from core.database.tables import File, Job
from core.errors import JobFailure
from core.jobs import leases
from core.jobs.leases import Claim
from core.references.items import References
from core.references.packing import write_folder
from worker.device import hardware
from worker.job_folder import JobFolder
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
        settings, claim = self.place.settings, Claim.of(self.job)
        given = inputs.writable(self._references(self.job.training_files), record)
        parameters = inputs.resolve_parameters(self.job, record, given, settings)
        content = parameters.model_dump(mode="json")
        self.lease.write(lambda session: leases.resolve(session, claim, content))
        own_pools = self.folder.pools if kept_apart(settings) else None
        spec = inputs.specification(record, parameters, settings, self.job.suffix, self.day, own_pools)
        self.draft.write_spec(spec | {"live_share": settings.live_share})
        read = inputs.caption_references(given, record, parameters)
        write_folder(read, self.draft.references)
        heldout = self._references([self.job.validation_file]) if self.job.validation_file else None
        if heldout is not None:
            heldout = inputs.writable(heldout, record, "validation_file")
            write_folder(inputs.caption_references(heldout, record, parameters), self.draft.validation)
        return JobMeasurement(hardware(settings), parameters, read, len(heldout.items) if heldout else 0)

    def _references(self, file_ids: list[str]) -> References:
        files = self.lease.read(lambda session: [session.get(File, file_id) for file_id in file_ids])
        if any(file is None or file.deleted_at is not None for file in files):
            raise JobFailure(FILE_DELETED, code="invalid_training_file", param="training_file")
        present = [file for file in files if file is not None]
        return inputs.fetch_references(
            present, self.place.storage, self.place.settings, self.draft.incoming, self.check
        )

"""Gathers what one job takes while it runs, for the estimates of those that come, and tells how long it still will."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core.accounts import stored_bytes
from core.backbones.record import BackboneRecord
from core.estimates import measurements
from core.estimates.course import Course
from core.estimates.estimator import Estimator
from core.estimates.measurements import Measured, Source
from core.estimates.sizes import JobSize
from core.findings.texts.lengths import TextSize
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.references.items import References, TextItem
from worker.job_folder import JobFolder
from worker.protocol import Json, Progress, StageDone
from worker.supervision.lease import Position

log = logging.getLogger(__name__)
COMPUTED = {"score": {"score", "gradient"}, "trial": {"step"}}  # by stages that may have nothing to do
SIZED = (".safetensors", ".gguf", ".zip")  # results that grow with the rank


class JobMeasurement:
    """Watches one job on its way through the stages."""

    def __init__(
        self, device: str, parameters: Parameters, read: References, validation: int = 0, *, chosen: bool = False
    ) -> None:
        self.shape, self._device = JobSize.of(parameters), device
        self._usual = {"precision", "checkpointing"} <= parameters.reasons.keys()
        self.texts = [TextSize.of(item) for item in read.items if isinstance(item, TextItem)]
        self._references, self._validation = len(read.items), validation
        self._chosen = chosen  # whether a kept step of another job is published, and nothing trained
        self._work: dict[str, Json] = {}
        self._course: Course | None = None
        self._prepared = 0.0  # seconds of preparing where the backbone's own samples are there
        self._encoded = 0.0  # share of preparing that another trainer has done before the job's own

    def foretell(self, estimator: Estimator, stored: Json | None, finished: Sequence[str]) -> Position:
        """Tell the job's way from now on; `stored` is what its row keeps of attempts before, `finished` their stages.

        Where nothing was measured that rests on a rule of thumb, and more and more on the job's own pace.
        """
        if self._chosen:
            self._course = Course(estimator.export_alone(self.shape), stored, finished)
            return self._told(Position(STAGES[0]))
        data = estimator.data(self._references, self.texts, self._validation)
        self._prepared = estimator.forecast(self.shape, data, made=True).stages[STAGES[0]].expected
        self._course = Course(estimator.forecast(self.shape, data), stored, finished)
        return self._told(Position(STAGES[0]))

    def position(self, line: Progress) -> Position:
        """Return where a line says that the job stands, and what is left of it."""
        position, left = Position.of(line, self._encoded), None
        if line.stage == STAGES[0] and line.eta_seconds is not None:  # samples of the backbone's own are made
            left = line.eta_seconds + self._prepared
        if self._course is not None:
            self._course.move(line.stage, line.step, position.progress, left)
        return self._told(position)

    def encoded(self, share: float) -> None:
        """Note that another trainer has done a share of preparing."""
        self._encoded = share

    def note(self, line: StageDone) -> None:
        """Take down what a stage has taken."""
        if line.work is not None:
            self._work[line.stage] = line.work
        if self._course is not None:
            self._course.finish(line.stage, idle=_idle(line))

    def course(self) -> Json | None:
        """Return what the job's row keeps of its way, as it is now."""
        return self._told(Position(STAGES[0])).course

    def _told(self, position: Position) -> Position:
        if self._course is None:
            return position
        eta = self._course.eta()
        return replace(position, eta_seconds=eta, course=self._course.stored())

    def keep(
        self, sessions: sessionmaker[Session], job_id: str, record: BackboneRecord, total: float, folder: JobFolder
    ) -> None:
        """Let estimates learn from what the job took; it has ended well already, whatever becomes of this."""
        try:
            measured = self.measured("job", total, folder)
            if measured is not None:
                with sessions.begin() as session:
                    if not folder.spec()["parameters"]["merged"]:
                        measured = measured.with_stored(stored_bytes.of_job(session, job_id))
                    measurements.add(session, record.id, record.measured_as, measured)
        except (SQLAlchemyError, OSError, KeyError, TypeError, ValueError) as error:  # the trainer's words are its own
            log.warning("what the job took was not kept: %s", type(error).__name__)

    def measured(self, source: Source, total: float, folder: JobFolder) -> Measured | None:
        """Return what the job took, `total` seconds in all.

        None where stages of it were done elsewhere or before, and where it asked for the precision of its backbone or
        for passes that are computed twice: such a job says nothing of others.
        Raises ValueError where the trainer's word is not what it should be.
        """
        if not self._usual:
            return None
        found = Measured(
            source,
            self._device,
            self.shape,
            total,
            self._work,
            result_bytes(folder),
            sum(text.characters for text in self.texts),
            sum(text.exchanges for text in self.texts),
        )
        if not found.complete:
            return None
        found.check()
        return found


def _idle(line: StageDone) -> bool:
    """Tell whether the stage had nothing to compute, by what its trainer says."""
    kinds = (line.work or {}).get("kinds")
    return line.stage in COMPUTED and isinstance(kinds, dict) and not COMPUTED[line.stage] & kinds.keys()


def result_bytes(folder: JobFolder) -> dict[str, int]:
    """Return the bytes of results, apart those that grow with the rank, and of checkpoints, with their number."""
    manifest = folder.read("export/manifest.json")
    files = [folder.stage("export") / row["file"] for row in manifest["results"]]
    sized = sum(file.stat().st_size for file in files if file.suffix in SIZED)
    kept = [(folder.path / row["file"]).stat().st_size for row in manifest["checkpoints"]]
    fixed = sum(file.stat().st_size for file in files) - sized
    return {"sized": sized, "fixed": fixed, "kept": sum(kept), "copies": len(kept)}

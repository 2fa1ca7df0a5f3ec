"""Gathers what one job takes while it runs, for the estimates of those that come, and tells how long it still will."""

from __future__ import annotations

import time

from core.estimates.estimator import Estimator
from core.estimates.forecast import Forecast
from core.estimates.measurements import Measured, Source
from core.estimates.sizes import JobSize
from core.findings.texts.lengths import TextSize
from core.parameters.parameters import Parameters
from core.parameters.schedule import STAGES
from core.references.items import References, TextItem
from worker.job_folder import JobFolder
from worker.protocol import Json, Progress, StageDone

SIZED = (".safetensors", ".gguf", ".zip")  # results that grow with the rank


class JobMeasurement:
    """Watches one job on its way through the stages."""

    def __init__(self, device: str, parameters: Parameters, read: References, validation: int = 0) -> None:
        self.shape, self._device = JobSize.of(parameters), device
        self._usual = {"precision", "checkpointing"} <= parameters.reasons.keys()
        self.texts = [TextSize.of(item) for item in read.items if isinstance(item, TextItem)]
        self._references, self._validation = len(read.items), validation
        self._work: dict[str, Json] = {}
        self._forecast: Forecast | None = None
        self._prepared: Forecast | None = None  # the same where the backbone's own samples are there
        self._stage, self._began = "", 0.0

    def foretell(self, estimator: Estimator) -> None:
        """Tell the job's end from now on, if anything was measured on which that can rest."""
        if estimator.measured:
            data = estimator.data(self._references, self.texts, self._validation)
            self._forecast = estimator.forecast(self.shape, data)
            self._prepared = estimator.forecast(self.shape, data, made=True)

    def left(self, line: Progress) -> float | None:
        """Return the seconds to the end of the job; where nothing was measured, to the end of the stage."""
        if line.stage != self._stage:
            self._stage, self._began = line.stage, time.monotonic()
        if self._forecast is None:
            return line.eta_seconds
        if line.stage == STAGES[0] and line.eta_seconds is not None:
            return self._making(line.eta_seconds)
        left = self._forecast.left(line.stage, time.monotonic() - self._began, line.eta_seconds)
        return line.eta_seconds if left is None else round(left, 1)

    def _making(self, seconds: float) -> float | None:
        """Return the seconds to the end of a job whose own samples take so many more; its preparing comes after."""
        self._forecast, self._began = self._prepared, time.monotonic()
        left = self._forecast.left(STAGES[0], 0.0, None) if self._forecast else None
        return None if left is None else round(seconds + left, 1)

    def note(self, line: StageDone) -> None:
        """Take down what a stage has taken."""
        if line.work is not None:
            self._work[line.stage] = line.work

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


def result_bytes(folder: JobFolder) -> dict[str, int]:
    """Return the bytes of results, apart those that grow with the rank, and of checkpoints, with their number."""
    manifest = folder.read("export/manifest.json")
    files = [folder.stage("export") / row["file"] for row in manifest["results"]]
    sized = sum(file.stat().st_size for file in files if file.suffix in SIZED)
    kept = [(folder.path / row["file"]).stat().st_size for row in manifest["checkpoints"]]
    fixed = sum(file.stat().st_size for file in files) - sized
    return {"sized": sized, "fixed": fixed, "kept": sum(kept), "copies": len(kept)}

"""From a backbone and references to a forecast: what the API answers, and what a running job's end is told from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from core.backbones.families import DeviceClass
from core.backbones.introductions import pool_facts
from core.backbones.record import BackboneRecord
from core.backbones.sides import side_step
from core.estimates import measurements
from core.estimates.default_costs import BackboneSize
from core.estimates.forecast import NOTHING, Forecast, Model, model
from core.estimates.measurements import Measured
from core.estimates.sizes import DataSize, JobSize
from core.estimates.summaries import files_of, summarise
from core.estimates.workload import thinned
from core.findings.finding import Finding
from core.findings.pictures import Sized, cut_off
from core.findings.texts.lengths import TextSize, TokenGuess, probably_too_long
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest, JobRequest
from core.parameters.resolving import resolve
from core.parameters.schedule import STAGES
from core.parameters.service_defaults import ServiceDefaults
from core.parameters.summary import ReferenceSummary
from core.parameters.token_limits import TokenLimit
from core.references.picture_shapes import choose
from core.storage.interface import Storage

TYPICAL_REFERENCES = 8
TOKENS_PER_CHARACTER = 0.25
MOST_KEPT = 32  # estimators that one process keeps
UNKNOWN_SEED = 0  # no estimate depends on it


class Estimator:
    """Foretells jobs of one backbone on one device."""

    def __init__(self, record: BackboneRecord, rows: Sequence[Measured], device: str | None) -> None:
        self.record, self._rows = record, rows
        usual = usual_shape(record, device_class(device))
        size = BackboneSize.of(record, None if rows else weights_bytes(record))
        self.model: Model = model(rows, usual, device, size)

    @classmethod
    def of(cls, session: Session, record: BackboneRecord, device: str | None) -> Estimator:
        """Read what was measured."""
        return cls(record, measurements.recent(session, record.id, record.measured_as, device), device)

    @property
    def measured(self) -> bool:
        """Tell whether anything was measured at all."""
        return bool(self.model.jobs or self.model.calibrations)

    def forecast(self, shape: JobSize, data: DataSize, *, made: bool = False) -> Forecast:
        """Foretell one job; with `made` the backbone has made its own samples already."""
        return self.model.forecast(shape, data, vocabulary(self.record), made=made)

    def export_alone(self, shape: JobSize) -> Forecast:
        """Foretell a job that publishes a kept step of another: the backbone is loaded, and files are written."""
        whole = self.forecast(replace(shape, subject=0, unrelated=0, share=0.0), self.data(0), made=True)
        others = frozenset(STAGES[:-1])
        seconds = whole.stages[STAGES[0]] + whole.stages[STAGES[-1]]
        return replace(whole, stages=dict.fromkeys(others, NOTHING) | {STAGES[-1]: seconds}, steps={}, idle=others)

    @property
    def guess(self) -> TokenGuess:
        """How many tokens the backbone makes of texts, as those that were measured tell."""
        return token_guess(self._rows)

    def data(self, references: int, texts: Sequence[TextSize] = (), validation: int = 0) -> DataSize:
        """Return how much there is to learn from; `texts` are those of the references, where they are known."""
        known = next((row.data for row in self._rows), DataSize(0))
        pool = pool_facts(self.record) or known
        guess = self.guess
        lengths = thinned([guess.tokens(text) for text in texts])
        return DataSize(
            references, pool.candidates, pool.probe, validation, lengths or known.lengths, known.candidate_lengths
        )


class Estimators:
    """Keeps what was fitted to measurements until there are others: a fit takes some hundredths of a second."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str | None, str | None], Estimator] = {}

    def of(self, session: Session, record: BackboneRecord, device: str | None) -> Estimator:
        """Return what `Estimator.of` does."""
        key = record.model_dump_json(), device, measurements.newest(session, record.id, record.measured_as)
        if key not in self._kept:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = Estimator.of(session, record, device)
        return self._kept[key]


@dataclass(frozen=True)
class Estimate:
    """What one job would take, and the parameters that it would have."""

    estimator: Estimator
    parameters: Parameters
    forecast: Forecast
    long: Finding | None = None  # of texts that are probably too long
    cut: Finding | None = None  # of pictures that lose much of their area


def estimate(
    session: Session,
    storage: Storage,
    estimator: Estimator,
    defaults: ServiceDefaults,
    request: JobRequest,
    training: Sequence[str],
    sizes: Sequence[TextSize] = (),
    pictures: Sequence[Sized] = (),
) -> Estimate:
    """Foretell the job that a request asks for, from its files, which have been checked; raises as `summarise`.

    `sizes` are those of all its texts and `pictures` all its images, where they are known.
    """
    record = estimator.record
    references = summarise(files_of(session, training), storage, record.kind)
    parameters = defaults.resolve(
        request.bat_or_defaults(),
        request.chosen(),
        backbone=record,
        summary=references.for_resolving(record.kind),
        seed=UNKNOWN_SEED if request.seed is None else request.seed,
    )
    heldout = files_of(session, [request.validation_file] if request.validation_file else [])
    data = estimator.data(references.count, references.texts, sum(file.items for file in heldout))
    limit = TokenLimit.of(request.bat_or_defaults(), record, parameters.device_class)
    long = probably_too_long(sizes, estimator.guess, limit)
    cut = cut_pictures(record, parameters, pictures)
    return Estimate(estimator, parameters, estimator.forecast(JobSize.of(parameters), data), long, cut)


def cut_pictures(record: BackboneRecord, p: Parameters, pictures: Sequence[Sized]) -> Finding | None:
    """Say which of a job's images lose much of their area in the shapes that it will choose, where that is known."""
    step = side_step(record.path)
    if p.resolution is None or not pictures or (step is None and p.shapes > 1):
        return None
    shapes = choose([size for _, size in pictures], p.resolution, step or 1, p.shapes, p.folds)
    return cut_off(pictures, shapes)


def long_texts(
    session: Session, record: BackboneRecord, request: BatRequest, sizes: Sequence[TextSize], device: str | None
) -> Finding | None:
    """Say which of a new job's texts are probably too long, as its estimate does."""
    if not sizes:
        return None
    guess = token_guess(measurements.recent(session, record.id, record.measured_as, device))
    return probably_too_long(sizes, guess, TokenLimit.of(request, record, device_class(device)))


def token_guess(rows: Sequence[Measured]) -> TokenGuess:
    """Return how many tokens a backbone makes of texts, as those that were measured tell."""
    ratio = measurements.tokens_per_character(rows) or TOKENS_PER_CHARACTER
    return TokenGuess(ratio, measurements.chat_tokens(rows))


def device_class(device: str | None) -> DeviceClass:
    """Return which table of defaults fits a device, of which nothing may be known."""
    return "cuda" if device is not None and measurements.class_of(device) == "cuda" else "cpu"


def usual_shape(record: BackboneRecord, device: DeviceClass) -> JobSize:
    """Return the shape of a job that leaves everything to the service."""
    summary = ReferenceSummary(kind=record.kind, count=TYPICAL_REFERENCES)
    return JobSize.of(resolve(BatRequest(), backbone=record, summary=summary, device_class=device, seed=0))


def weights_bytes(record: BackboneRecord) -> int | None:
    """Return the bytes of a backbone's weights, None where they are not on this machine."""
    try:
        return sum((record.path / name).stat().st_size for name in record.sha256 if name.endswith(".safetensors"))
    except OSError:
        return None


def vocabulary(record: BackboneRecord) -> int:
    """Return how many words a backbone of texts knows, 0 where that is not known."""
    try:
        config = json.loads((record.path / "config.json").read_bytes()) if record.kind == "texts" else {}
    except (OSError, ValueError):
        return 0
    words = dict(config.get("text_config") or config).get("vocab_size") if isinstance(config, dict) else None
    return words if isinstance(words, int) else 0

"""What a job would take, as the wire shows it: the same answer before the job as its end will give, within a range."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.dependencies import Services
from api.schemas.estimates import Basis, Bytes, EstimateObject, Queue, Spread
from core.backbones.record import BackboneRecord
from core.database.tables import File, Job
from core.errors import AlbatrossError
from core.estimates.estimator import Estimator, device_class
from core.estimates.forecast import Forecast, Range
from core.estimates.queue_wait import Waiting, present, usual_device, waiting
from core.estimates.summaries import Summary, summarise
from core.estimates.workload import JobSize
from core.parameters.defaults import USUAL_PRESET
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest, JobRequest
from core.parameters.resolving import resolve
from core.parameters.summary import ReferenceSummary

MERGED = (
    "The merged network that was asked for is not counted: a file of about the backbone's size in float32 comes on top."
)
NO_WORKER = "No worker is there to take jobs; start one with `albatross worker` or `albatross serve`."
ROUGH = "Peak memory is rough: it follows what smaller and larger jobs took."
EARLY = "Training may stop early, or try a second share of backbone data: hence the range of seconds."
UNKNOWN_SEED = 0


def estimate(
    session: Session, services: Services, body: JobRequest, record: BackboneRecord, training: Sequence[str]
) -> EstimateObject:
    """Foretell the job that the body asks for; its files have been checked."""
    bat = body.bat or BatRequest()
    device = usual_device(present(session, services.settings))
    presets = services.presets
    preset = presets.get(USUAL_PRESET[record.kind] if bat.preset == "auto" else bat.preset)
    summary = summarise(
        _files(session, training), services.storage, record, bat.trigger, preset is None or preset.add_trigger
    )
    parameters = resolve(
        bat,
        body.chosen(),
        backbone=record,
        summary=summary.for_resolving(record),
        device_class=_class(device, services),
        seed=UNKNOWN_SEED if body.seed is None else body.seed,
        stop_default=services.settings.stop,
        presets=presets,
        taggers=services.taggers.ids,
    )
    estimator = Estimator.of(session, record, device)
    validation = sum(file.items for file in _files(session, [body.validation_file] if body.validation_file else []))
    data = estimator.data(summary.count, summary.texts, validation)
    forecast = estimator.model.forecast(JobSize.of(parameters), data)
    queue = waiting(session, services.settings, _Queued(session, services, device).seconds)
    return _object(record, forecast, queue, parameters, estimator)


def _class(device: str | None, services: Services) -> Literal["cpu", "cuda"]:
    return device_class(device if device is not None else services.settings.device)


def _files(session: Session, names: Sequence[str]) -> list[File]:
    found = {file.id: file for file in session.scalars(select(File).where(File.id.in_(names)))}
    return [found[name] for name in names if name in found]


class _Queued:
    """Foretells the jobs that stand before a new one, from what their rows say."""

    def __init__(self, session: Session, services: Services, device: str | None) -> None:
        self._session, self._services, self._device = session, services, device
        self._presets, self._taggers = services.presets, services.taggers.ids  # read once for all jobs
        self._estimators: dict[str, Estimator | None] = {}

    def seconds(self, job: Job) -> float:
        """Return the seconds of a whole job; 0 for one that will fail at once."""
        estimator = self._estimator(job.backbone)
        if estimator is None:
            return 0.0
        count = Summary(sum(file.items for file in _files(self._session, job.training_files)))
        try:
            shape = JobSize.of(self._parameters(job, count.for_resolving(estimator.record)))
            return estimator.model.forecast(shape, estimator.data(count.count)).seconds.expected
        except (AlbatrossError, ValueError, ArithmeticError):  # one odd job must not take the estimate from all others
            return 0.0

    def _parameters(self, job: Job, summary: ReferenceSummary) -> Parameters:
        if job.parameters is not None:
            return Parameters.model_validate(job.parameters)
        body = JobRequest.model_validate(job.request)
        estimator = self._estimator(job.backbone)
        assert estimator is not None
        return resolve(
            body.bat or BatRequest(),
            body.chosen(),
            backbone=estimator.record,
            summary=summary,
            seed=job.seed,
            device_class=_class(self._device, self._services),
            stop_default=self._services.settings.stop,
            presets=self._presets,
            taggers=self._taggers,
        )

    def _estimator(self, backbone: str) -> Estimator | None:
        if backbone not in self._estimators:
            try:
                record = self._services.registry.get(backbone)
                self._estimators[backbone] = Estimator.of(self._session, record, self._device)
            except AlbatrossError:
                self._estimators[backbone] = None
        return self._estimators[backbone]


def _object(
    record: BackboneRecord, forecast: Forecast, queue: Waiting, parameters: Parameters, estimator: Estimator
) -> EstimateObject:
    model = estimator.model
    notes = [EARLY, ROUGH] if parameters.stop != "max_steps" else [ROUGH]
    return EstimateObject(
        model=record.id,
        seconds=_spread(forecast.seconds),
        stages={name: _spread(each) for name, each in forecast.stages.items()},
        queue=Queue(
            position=queue.ahead,
            running=queue.running,
            workers=queue.workers,
            seconds=None if queue.seconds is None else round(queue.seconds, 1),
        ),
        peak_memory_bytes=_bytes(forecast.memory),
        memory_of="device" if forecast.on_device else "host",
        result_bytes=_bytes(forecast.bytes),
        resolved=parameters.model_dump(mode="json"),
        basis=Basis(
            kind="measured" if estimator.measured else "rule_of_thumb",
            jobs=model.jobs,
            calibrations=model.calibrations,
            device=model.device or None,
            message=forecast.basis,
        ),
        notes=[*notes, *([] if queue.workers else [NO_WORKER]), *([MERGED] if parameters.merged else [])],
    )


def _spread(found: Range) -> Spread:
    return Spread(low=round(found.low, 1), expected=round(found.expected, 1), high=round(found.high, 1))


def _bytes(found: Range) -> Bytes:
    return Bytes(low=int(found.low), expected=int(found.expected), high=int(found.high))

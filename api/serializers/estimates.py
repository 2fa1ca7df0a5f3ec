"""What a job would take, as the wire shows it: the same answer before the job as its end will give, within a range."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict

from api.schemas.estimates import Basis, Bytes, EstimateObject, Queue, Spread
from core.database.tables import File, Json
from core.estimates.estimator import Estimate
from core.estimates.forecast import Range
from core.estimates.queue_wait import Waiting
from core.estimates.sizes import JobSize
from core.findings.finding import Finding
from core.settings import OWN_SECONDS

MERGED = "The merged network that was asked for is not counted: a file as large as the backbone's weights comes on top."
NO_WORKER = "No worker is there to take jobs; start one with `albatross worker` or `albatross serve`."
ROUGH = "Peak memory is rough: it follows what smaller and larger jobs took."
BOTH = "Of answers that are held to the frozen backbone's words memory keeps both distributions, which is counted."
OWN = "{} makes {} samples of its own, once for all jobs of this size; usually for at most {:.0f} s."
EARLY = "Training may stop early, or try a second share of backbone data: hence the range of seconds."


def estimate_object(
    found: Estimate, queue: Waiting, texts: Iterable[Finding], job: Iterable[Finding], files: Iterable[File]
) -> EstimateObject:
    """Show an estimate, how long the job would wait, what else is told of its texts, of the job, and of its files."""
    forecast, parameters, model = found.forecast, found.parameters, found.estimator.model
    notes = [EARLY, ROUGH] if parameters.stop != "max_steps" else [ROUGH]
    notes += _protecting(found)
    estimated = [finding for finding in (found.cut, found.long) if finding is not None]
    notes = [*(f"{finding.message} {finding.fix}" for finding in [*estimated, *texts]), *notes]
    return EstimateObject(
        model=found.estimator.record.id,
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
            kind="measured" if found.estimator.measured else "rule_of_thumb",
            jobs=model.jobs,
            calibrations=model.calibrations,
            device=model.device or None,
            message=forecast.basis,
        ),
        findings=[*_of_files(files), *({**asdict(finding), "file_id": None} for finding in [*job, *estimated])],
        notes=[*notes, *([] if queue.workers else [NO_WORKER]), *([MERGED] if parameters.merged else [])],
    )


def _of_files(files: Iterable[File]) -> Iterator[Json]:
    """Yield what uploads told when they were read, each with its file."""
    for file in files:
        yield from ({**finding, "file_id": file.id} for finding in file.findings)


def _protecting(found: Estimate) -> Iterator[str]:
    """Yield what protection costs beside its slots."""
    p = found.parameters
    shape = JobSize.of(p)
    if shape.makes and not found.estimator.model.has_made(shape):
        yield OWN.format(found.estimator.record.id, shape.made, OWN_SECONDS)
    if p.kind == "texts" and p.protect in ("distil", "both"):
        yield BOTH


def _spread(found: Range) -> Spread:
    return Spread(low=round(found.low, 1), expected=round(found.expected, 1), high=round(found.high, 1))


def _bytes(found: Range) -> Bytes:
    return Bytes(low=int(found.low), expected=int(found.expected), high=int(found.high))

"""How long a job will take, and what it needs: its work, counted, times what a unit of it costs on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from core.estimates.costs import CHECKED, Costs, fitted
from core.estimates.default_costs import BackboneSize, thumb_prices
from core.estimates.measurements import Measured, class_of
from core.estimates.sizes import DataSize, JobSize
from core.estimates.step_counts import StepCounts, endings
from core.estimates.workload import Workload, workload
from core.parameters.schedule import GENERATED, OWN_SAMPLES, STAGES

MEASURED_SPREAD, MIN_SPREAD = 0.15, 0.1  # of what is measured: relative, on each side
THUMB_SPREAD = 3.0  # a rule of thumb is right within this factor
OTHER_DEVICE_SPREAD = 2.0


@dataclass(frozen=True)
class Range:
    """A figure and between which it will probably lie."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def widened(self, factor: float) -> Range:
        """Return the range with both ends so much further out."""
        return Range(self.low / factor, self.expected, self.high * factor)


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Forecast:
    """What a job will take: seconds of each stage, bytes of memory and of results, and what that rests on."""

    stages: Mapping[str, Range]
    memory: Range
    on_device: bool
    bytes: Range
    basis: str
    measured_jobs: int
    calibrations: int
    steps: Mapping[str, int] = field(default_factory=dict)  # of each stage that takes any
    idle: frozenset[str] = frozenset()  # stages that have nothing to compute

    @property
    def seconds(self) -> Range:
        """Return the seconds of all stages."""
        return sum(self.stages.values(), NOTHING)


@dataclass(frozen=True)
class Model:
    """What is known of a backbone on a device: prices, and when stages end."""

    prices: Costs
    endings: StepCounts
    jobs: int
    calibrations: int
    device: str
    asked: str | None  # the device that jobs will run on
    spread: float
    made: frozenset[tuple[int | None, int | None, int]] = frozenset()  # sizes of which its own samples are there
    slowed: float = 1.0  # how much faster a machine without other work is than the measured one was

    def has_made(self, shape: JobSize) -> bool:
        """Tell whether the backbone has made samples of its own for a job of this size."""
        return shape.size in self.made

    def forecast(self, shape: JobSize, data: DataSize, vocabulary: int = 0, *, made: bool = False) -> Forecast:
        """Foretell one job; `vocabulary` is the words of a backbone of texts.

        With `made` its own samples are there, whatever is known of them.
        """
        there, measured = made or self.has_made(shape), bool(self.jobs or self.calibrations)
        data = generated(data) if shape.generates else data
        if measured:  # a rule of thumb needs no such detail
            data = with_probe(data, own=shape.makes or there)
        protects = shape.protects(data.candidates)
        counts = (
            self.endings.fewest(shape, protects=protects),
            self.endings.steps(shape, protects=protects),
            self.endings.most(shape, protects=protects),
        )
        # at best somebody has had the backbone's own samples made
        works = [
            workload(shape, data, steps, pool_encoded=measured, samples_made=done)
            for steps, done in zip(counts, (True, there, there), strict=True)
        ]
        factor = 1 + self.spread
        stages = {stage: self._range(stage, works, shape.rank).widened(factor) for stage in STAGES}
        peak, stored = self.prices.peak_memory(works[1], shape, vocabulary), self.prices.result_bytes(shape.rank)
        return Forecast(
            stages,
            Range(peak, peak, peak).widened(max(1.3, factor)),
            self.prices.on_device,
            Range(stored, stored, stored).widened(max(1.3, factor)),
            self._basis(),
            self.jobs,
            self.calibrations,
            {stage: count for stage, count in asdict(counts[1]).items() if stage in STAGES},
            frozenset(stage for stage, amounts in works[1].items() if not amounts),
        )

    def _range(self, stage: str, works: Sequence[Workload], rank: int) -> Range:
        low, expected, high = (self.prices.of_stage(stage, work, rank, warm=work is works[0]) for work in works)
        return Range(min(low, expected) / self.slowed, expected, max(high, expected))

    def _basis(self) -> str:
        if not self.jobs and not self.calibrations:
            return "A rule of thumb: run `albatross calibrate`, and estimates rest on what is measured."
        counted = ((self.jobs, "job"), (self.calibrations, "calibration run"))
        parts = [f"{count} {name}{'s' * (count != 1)}" for count, name in counted if count]
        where = f"on {self.device}"
        if self.asked is not None and self.asked != self.device:
            where += f", not on the workers' {self.asked}: run `albatross calibrate` there"
        return f"Measured in {' and '.join(parts)} {where}."


def with_probe(data: DataSize, *, own: bool) -> DataSize:
    """Return the data with a probe of the backbone's own samples, where there are some and its pool has none."""
    return replace(data, probe=OWN_SAMPLES // 4) if own and not data.probe else data


def generated(data: DataSize) -> DataSize:
    """Return the data of a job whose candidates the backbone makes; a quarter is the probe where its pool has none."""
    held = 0 if data.probe else GENERATED // 4
    return replace(data, candidates=GENERATED - held, probe=data.probe or held)


def model(rows: Sequence[Measured], usual: JobSize, device: str | None, size: BackboneSize | None) -> Model:
    """Return what the measurements tell, the newest first, or a rule of thumb where there are none.

    `usual` is the shape of a job that leaves everything to the service; `size` is the backbone's, where it is known.
    """
    whole = [row for row in rows if row.complete]
    if not whole:
        prices = thumb_prices(usual, class_of(device or "cpu"), size or BackboneSize.typical(usual.kind))
        return Model(prices, endings([], usual), 0, 0, "", device, THUMB_SPREAD - 1)
    prices = fitted(whole)
    jobs = sum(row.source == "job" for row in whole)
    other = device is not None and device != whole[0].device
    spread = OTHER_DEVICE_SPREAD - 1 if other else _spread(prices, whole)
    slowed = median(row.slowed for row in whole[:CHECKED])
    made = frozenset(row.shape.size for row in whole if row.shape.makes)
    known = endings(whole, usual)
    return Model(prices, known, jobs, len(whole) - jobs, whole[0].device, device, spread, made, slowed)


def _spread(prices: Costs, rows: Sequence[Measured]) -> float:
    """Return how far jobs lay from what the prices say of the steps that they made, relative."""
    off = []
    for row in rows:
        if row.source == "job":
            work = workload(row.shape, row.data, row.steps)
            told = sum(prices.of_stage(stage, work, row.shape.rank, warm=row.warm) for stage in STAGES)
            off.append(abs(sum(row.seconds.values()) / told - 1) if told else 1.0)
    return max(MIN_SPREAD, 1.5 * median(off)) if off else MEASURED_SPREAD

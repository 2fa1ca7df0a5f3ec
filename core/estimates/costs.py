"""What a unit of work costs on one device: a few coefficients of at least 0, fitted to measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from core.backbones.memory_needs import DISTILLED_BYTES
from core.estimates import nnls
from core.estimates.measurements import Measured
from core.estimates.sizes import JobSize
from core.estimates.workload import COPIES, STEPPED, Amount, Workload, distilled
from core.parameters.schedule import EVALUATED_AT_ONCE, STAGES
from core.settings import OWN_SECONDS

CHECKED = 5  # newest measurements whose mean error is taken out of what the fit says
# what the seconds of one call are made of, the likeliest first; `rank` is the work that adapters add
FEATURES: Mapping[str, tuple[str, ...]] = {
    "load": ("call",),
    "encode": ("units",),
    "step": ("units", "call", "units rank", "rank runs"),
    "evaluation": ("units", "call", "units rank"),
    "gradient": ("units", "units rank"),
    "score": ("units", "units rank"),
    "sample": ("units", "call"),
}
MEMORY = ("call", "units", "units rank")
GREEDY = (("surrogate", "step"), ("score", "score"))  # the passes that memory is foretold from


@dataclass(frozen=True)
class Costs:
    """Seconds and bytes on one device, by kind of work."""

    seconds: Mapping[str, Sequence[float]]  # coefficients of FEATURES
    rest: Mapping[str, float]  # seconds of a stage beside its work: for each step, or in all
    warm_rest: float  # the same of preparing, where the trainer was there already
    memory: Sequence[float]  # coefficients of MEMORY
    least_memory: int  # bytes that the other stages take
    on_device: bool  # whether memory is that of a GPU
    sized_bytes: float  # results: bytes for each rank
    fixed_bytes: float
    kept_bytes: float  # checkpoints: bytes of one for each rank
    copies: float  # checkpoints that a job keeps
    floors: Mapping[str, float] = field(default_factory=dict)  # seconds that one call takes at least
    evaluated_bytes: float = 0.0  # what a token of an evaluation takes beside the weights, where none was measured
    captioned_bytes: float = 0.0  # what is kept of a picture's caption, whatever its size, where none was measured

    def of(self, kind: str, amount: Amount, rank: int) -> float:
        """Return the seconds of an amount of work; 0 for what was never measured."""
        if kind not in self.seconds:
            return 0.0
        seconds = _product(_features(FEATURES[kind], amount, rank), self.seconds[kind])
        return amount.calls * max(seconds, self.floors.get(kind, 0.0))

    def of_stage(self, stage: str, work: Workload, rank: int, *, warm: bool = False) -> float:
        """Return the seconds of a stage."""
        done = {kind: amount for kind, amount in work[stage].items() if not (warm and kind == "load")}
        taken = {kind: self.of(kind, amount, rank) for kind, amount in done.items()}
        if stage == "prepare" and "sample" in taken:
            taken["sample"] = min(taken["sample"], OWN_SECONDS)
        seconds = sum(taken.values())
        if stage in STEPPED:
            steps = done["step"].calls if "step" in done else 0
            return seconds + self.rest[stage] * steps
        return seconds + (self.warm_rest if warm and stage == "prepare" else self.rest[stage])

    def peak_memory(self, work: Workload, shape: JobSize, vocabulary: int = 0) -> int:
        """Return the bytes of the greediest stage; of texts that are held to the frozen network's words both
        distributions are kept, a number for each word of the `vocabulary`.
        """
        step, held = distilled(shape, work)
        passes = [(work[stage][kind], 0.0) for stage, kind in GREEDY if kind in work[stage]]
        passes.append((step, held * vocabulary * DISTILLED_BYTES))
        peaks = (
            _product(_features(MEMORY, amount, shape.rank), self.memory)
            + amount.size / shape.area * self.captioned_bytes
            + more
            for amount, more in passes
        )
        return max(self.least_memory, self._evaluating(work, shape), *(int(peak) for peak in peaks))

    def _evaluating(self, work: Workload, shape: JobSize) -> int:
        """Return the bytes of evaluating texts, whose logits are all there at once."""
        if "evaluation" not in work["surrogate"]:
            return 0
        tokens = min(work["surrogate"]["evaluation"].size, EVALUATED_AT_ONCE * float(shape.max_tokens or 0))
        return int(self.least_memory + self.evaluated_bytes * tokens)

    def result_bytes(self, rank: int) -> int:
        """Return the bytes of everything that a job publishes."""
        return int(self.fixed_bytes + (self.sized_bytes + self.kept_bytes * self.copies) * rank)


def fitted(rows: Sequence[Measured]) -> Costs:
    """Fit prices to complete measurements, the newest first; there has to be one at least."""
    seconds = {kind: _fitted(kind, rows) for kind in FEATURES}
    cold = [row for row in rows if not row.warm] or rows
    on_device = all(row.work["train"]["memory"].get("device") for row in rows)
    peaks = [_peak(row, stage, on_device) for row in rows for stage in ("prepare",) if not row.warm]
    rest = {stage: median(_rest(row, stage) for row in (cold if stage == "prepare" else rows)) for stage in STAGES}
    for stage in STEPPED:
        per_step = [_rest(row, stage) / steps for row in rows if (steps := _calls(row, stage, "step"))]
        rest[stage] = median(per_step) if per_step else max(rest[stage], 0.0)
    return Costs(
        seconds={kind: found for kind, found in seconds.items() if found},
        rest=rest,
        warm_rest=min(_rest(row, "prepare") for row in rows),
        memory=_memory(rows, on_device),
        least_memory=max(peaks, default=0),
        on_device=on_device,
        sized_bytes=median(row.bytes.get("sized", 0) / row.shape.rank for row in rows),
        fixed_bytes=median(row.bytes.get("fixed", 0) for row in rows),
        kept_bytes=median(_copy(row) / row.shape.rank for row in rows),
        copies=median([row.bytes.get("copies", 0) for row in rows if row.source == "job"] or [COPIES]),
    )


def measured_amounts(row: Measured) -> list[tuple[str, str, Amount, float]]:
    """Return (stage, kind, work, seconds of one call) of everything that was measured."""
    found = []
    for stage in STAGES:
        for kind, told in row.work[stage]["kinds"].items():
            if kind in FEATURES and told["calls"]:
                size = told["units"] / told["calls"] * (row.shape.area if kind != "load" else 1)
                size *= row.shape.passes(stage) if kind == "step" else 1.0
                amount = Amount(told["calls"], size, runs_of(row.shape, stage))
                found.append((stage, kind, amount, told["seconds"] / told["calls"]))
    return found


def runs_of(shape: JobSize, stage: str) -> int:
    """Return how many adapters a stage trains at once."""
    return shape.folds if stage in ("surrogate", "trial") else 1


def _fitted(kind: str, rows: Sequence[Measured]) -> list[float]:
    """Return the kind's coefficients, all moved by what the newest rows say beside the fit, each by its seconds."""
    points = [
        (row, amount, seconds) for row in rows for _, name, amount, seconds in measured_amounts(row) if name == kind
    ]
    if not points:
        return []
    features = [_features(FEATURES[kind], amount, row.shape.rank) for row, amount, _ in points]
    found = nnls.fit(features, [seconds for *_, seconds in points])
    newest = rows[:CHECKED]
    off = [
        (seconds / told, seconds * amount.calls)
        for (row, amount, seconds), each in zip(points, features, strict=True)
        if row in newest and (told := _product(each, found)) > 0
    ]
    return [coefficient * weighted_median(off) for coefficient in found] if off else found


def weighted_median(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the value below which half of the weight lies; pairs are (value, weight)."""
    half, below = sum(weight for _, weight in pairs) / 2, 0.0
    for value, weight in sorted(pairs):
        below += weight
        if below >= half:
            return value
    return 1.0


def _memory(rows: Sequence[Measured], on_device: bool) -> list[float]:
    points, peaks = [], []
    for row in rows:
        for stage, kind, amount, _ in measured_amounts(row):
            # a trainer keeps what it once had: what comes after the greediest stage shows its peak too
            if (stage, kind) in GREEDY and not (row.warm and kind == "step"):
                points.append(_features(MEMORY, amount, row.shape.rank))
                peaks.append(float(_peak(row, stage, on_device)))
    return nnls.fit(points, peaks) if points else [0.0] * len(MEMORY)


def _features(names: Sequence[str], amount: Amount, rank: int) -> list[float]:
    known = {
        "call": 1.0,
        "units": amount.size,
        "units rank": amount.size * rank,
        "rank runs": float(rank * amount.runs),
    }
    return [known[name] for name in names]


def _rest(row: Measured, stage: str) -> float:
    worked = sum(told["seconds"] for told in row.work[stage]["kinds"].values())
    return max(0.0, row.seconds[stage] - worked)


def _calls(row: Measured, stage: str, kind: str) -> int:
    return int(row.work[stage]["kinds"].get(kind, {}).get("calls", 0))


def _peak(row: Measured, stage: str, on_device: bool) -> int:
    memory = row.work[stage]["memory"]
    return int(memory.get("device" if on_device else "host") or 0)


def _copy(row: Measured) -> float:
    return row.bytes.get("kept", 0) / max(1, row.bytes.get("copies", 0))


def _product(row: Sequence[float], coefficients: Sequence[float]) -> float:
    return sum(x * c for x, c in zip(row, coefficients, strict=True))

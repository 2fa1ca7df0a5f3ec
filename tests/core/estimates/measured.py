"""Measurements of an invented device whose prices are known exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.estimates.measurements import Measured, Source
from core.estimates.sizes import DataSize, JobSize, Steps
from core.estimates.workload import workload
from core.parameters.schedule import STAGES

SHAPE = JobSize(
    kind="images",
    rank=4,
    batch_size=6,
    folds=4,
    surrogate_steps=100,
    max_steps=160,
    stretched=True,
    learning_rate=1e-3,
    stop="auto",
    share=0.5,
    tried=True,
    selected_count=16,
    sample_ratio=0.5,
    draws_score=8,
    draws_eval=4,
    scored=True,
    resolution=512,
    max_tokens=None,
    subject=2,
    unrelated=2,
)
DATA = DataSize(references=6, candidates=200, probe=16)
SMALL = replace(SHAPE, surrogate_steps=12, max_steps=16, stretched=False, stop="max_steps", sample_ratio=0.1)
OTHER = replace(SMALL, rank=16, batch_size=3, folds=2)
REST = {"prepare": 5.0, "surrogate": 0.01, "score": 2.0, "trial": 0.01, "train": 0.02, "export": 3.0}
MEGABYTE = 1_000_000


def price(kind: str, size: float, rank: int, runs: int) -> float:
    """The seconds of one call on the invented device."""
    return {
        "load": 2.0,
        "encode": 0.01 * size,
        "step": 0.05 + 0.01 * size + 0.0005 * size * rank,
        "evaluation": 0.02 + 0.004 * size,
        "gradient": 0.02 * size,
        "score": 0.015 * size,
        "sample": 0.3 * size,
    }[kind]


def true_stages(shape: JobSize, data: DataSize, steps: Steps, slower: float = 1.0) -> dict[str, float]:
    """The seconds of every stage."""
    found = {}
    for stage, amounts in workload(shape, data, steps).items():
        worked = sum(each.calls * price(kind, each.size, shape.rank, each.runs) for kind, each in amounts.items())
        times = amounts["step"].calls if "step" in amounts else 0 if stage in ("surrogate", "trial", "train") else 1
        found[stage] = slower * (worked + REST[stage] * times)
    return found


def measured(
    shape: JobSize,
    steps: Steps,
    *,
    data: DataSize = DATA,
    source: Source = "calibration",
    device: str = "cpu: toy",
    slower: float = 1.0,
) -> Measured:
    """What the trainer would report of a job of this shape that made so many steps."""
    seconds, works = true_stages(shape, data, steps, slower), {}
    for stage, amounts in workload(shape, data, steps).items():
        kinds = {
            kind: {
                "calls": each.calls,
                "units": each.calls * each.size / (shape.area if kind != "load" else 1),
                "seconds": slower * each.calls * price(kind, each.size, shape.rank, each.runs),
                "cpu": 0.0,
            }
            for kind, each in amounts.items()
        }
        works[stage] = {"seconds": seconds[stage], "cpu": 0.0, "kinds": kinds, "facts": {}, "memory": _memory(amounts)}
    works["prepare"]["facts"] = {"references": data.references, "candidates": data.candidates, "probe": data.probe}
    works["score"]["facts"] = {"sampled": 2, "scored": 1 if steps.unscored else 2}
    stored = {"sized": 50_000 * shape.rank, "fixed": 300_000, "kept": 40_000 * shape.rank, "copies": 2}
    return Measured(source, device, shape, sum(seconds[stage] for stage in STAGES), works, stored)


def _memory(amounts: Any) -> dict[str, int | None]:
    size = max((each.size for kind, each in amounts.items() if kind in ("step", "score")), default=0)
    return {"host": int(500 * MEGABYTE + 10 * MEGABYTE * size), "device": None}

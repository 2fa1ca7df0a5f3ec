"""Costs for a backbone that nobody has measured yet: those of the built-in ones, by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.estimates.costs import Costs
from core.estimates.workload import COPIES
from core.parameters.schedule import STAGES

GIGABYTE = 1e9
# seconds for a unit of work and a gigabyte of weights: coefficients as in core.estimates.costs.FEATURES. On a CPU
# they are those of the built-in backbones on one thread; a GPU's are guessed from what it computes in a second.
SECONDS: Mapping[tuple[str, str], Mapping[str, Sequence[float]]] = {
    ("images", "cpu"): {
        "load": (2.0,),
        "encode": (60.0,),
        "step": (220.0, 0.02, 0.0, 0.0),
        "evaluation": (100.0, 0.01, 0.0),
        "gradient": (280.0, 0.0),
        "score": (270.0, 0.0),
        "sample": (5000.0, 0.1),
    },
    ("images", "cuda"): {
        "load": (3.0,),
        "encode": (0.02,),
        "step": (0.1, 0.05, 0.0, 0.0),
        "evaluation": (0.05, 0.02, 0.0),
        "gradient": (0.1, 0.0),
        "score": (0.1, 0.0),
        "sample": (1.5, 0.3),
    },
    ("texts", "cpu"): {
        "load": (2.0,),
        "encode": (0.001,),
        "step": (0.038, 0.01, 0.0, 0.0),
        "evaluation": (0.017, 0.01, 0.0),
        "gradient": (0.033, 0.0),
        "score": (0.044, 0.0),
        "sample": (7.2, 0.1),
    },
    ("texts", "cuda"): {
        "load": (2.0,),
        "encode": (0.001,),
        "step": (2e-5, 0.05, 0.0, 0.0),
        "evaluation": (1e-5, 0.02, 0.0),
        "gradient": (3e-5, 0.0),
        "score": (3e-5, 0.0),
        "sample": (0.8, 0.1),
    },
}
UNSIZED = ("load",)
REST = {"prepare": 12.0, "score": 1.0, "export": 3.0, "surrogate": 0.02, "trial": 0.02, "train": 0.02}
TYPICAL_BYTES = {"images": 2_000_000_000, "texts": 1_000_000_000}
LIBRARIES = 900_000_000  # bytes of a trainer that has loaded no backbone
ADAPTER_SHARE = 0.002  # bytes of one adapter for each rank, as a share of the weights


def thumb_prices(kind: str, device_class: str, weights_bytes: int | None) -> Costs:
    """Return prices for a backbone of so many bytes of weights."""
    size = float(weights_bytes or TYPICAL_BYTES[kind])
    scale = size / GIGABYTE
    table = SECONDS[kind, device_class if device_class == "cuda" else "cpu"]
    seconds = {name: list(row) if name in UNSIZED else [row[0] * scale, *row[1:]] for name, row in table.items()}
    return Costs(
        seconds=seconds,
        rest={stage: REST[stage] for stage in STAGES},
        warm_rest=1.0,
        memory=[LIBRARIES + 1.5 * size, 4e6 if kind == "texts" else 1.5e9, 0.0],
        least_memory=int(LIBRARIES + size),
        on_device=device_class == "cuda",
        sized_bytes=ADAPTER_SHARE * size,
        fixed_bytes=2e6,
        kept_bytes=ADAPTER_SHARE * size,
        copies=COPIES,
    )

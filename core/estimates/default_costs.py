"""Costs for a backbone that nobody has measured yet: of a CPU by the built-in ones, of a GPU by what it computes.

On a GPU a call takes as long as its operations compute, at a share of a card's speed, or as its launches take the host,
whichever is longer. The formula and its shares are our own reconstruction; a test holds them to what one H200 took.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.backbones.families import DeviceClass, Kind
from core.backbones.memory_needs import (
    ADAPTED_BYTES,
    LOGIT_BYTES,
    kept_of_caption,
    kept_of_picture,
    kept_of_token,
    text_sides,
)
from core.backbones.record import BackboneRecord
from core.estimates.costs import FEATURES, Costs
from core.estimates.sizes import TYPICAL_SIDE, JobSize
from core.estimates.workload import COPIES
from core.parameters.memory import RECOMPUTED_ABOVE
from core.parameters.schedule import STAGES

GIGABYTE = 1e9
# seconds for a unit of work and a gigabyte of weights: coefficients as in core.estimates.costs.FEATURES, those of the
# built-in backbones on one thread
CPU_SECONDS: Mapping[Kind, Mapping[str, Sequence[float]]] = {
    "images": {
        "load": (2.0,),
        "encode": (60.0,),
        "step": (220.0, 0.02, 0.0, 0.0),
        "evaluation": (100.0, 0.01, 0.0),
        "gradient": (280.0, 0.0),
        "score": (270.0, 0.0),
        "sample": (5000.0, 0.1),
    },
    "texts": {
        "load": (2.0,),
        "encode": (0.001,),
        "step": (0.038, 0.01, 0.0, 0.0),
        "evaluation": (0.017, 0.01, 0.0),
        "gradient": (0.033, 0.0),
        "score": (0.044, 0.0),
        "sample": (7.2, 0.1),
    },
}
UNSIZED = ("load",)
# Operations of a pass forward for each parameter: of a picture of 512 px (.68e12 for SD 1.5), and of a token.
FORWARD: Mapping[Kind, float] = {"images": 700.0, "texts": 2.0}
# And of transformers, whose parameters are used once a token: benchmarks/gpu/flows.py counts them.
FORWARD_OF = {
    "sd3": 1000.0,
    "flux1": 1800.0,
    "flux2": 2730.0,
    "flux2-klein": 2640.0,
    "qwen-image": 820.0,
    "z-image": 2230.0,
}
# Passes forward that a call of each kind is worth; weights are frozen, so a pass backward is one.
PASSES: Mapping[str, float] = {"step": 2.0, "evaluation": 1.0, "gradient": 2.0, "score": 2.0}
CARD = 989e12  # operations a second of an H100 in bfloat16, dense
SHARE: Mapping[Kind, float] = {"images": 0.1, "texts": 0.3}  # of it, that networks reach
# Launches of one call for each module that is adapted, and the seconds that one takes the host: 5,501 of 128 modules
# of SD 1.5 and 8,801 of 210 of a LLaMA in a step, .2 and .37 s (benchmarks/results/gpu.json).
LAUNCHES: Mapping[str, float] = {"step": 42.0, "evaluation": 12.0, "gradient": 48.0, "score": 55.0}
LAUNCH_SECONDS = 38e-6
DENOISED, GUIDED, ANSWERED = 20, 2, 48  # steps of a picture, samples of each step, tokens of an answer
# The same of families that are drawn in others; a backbone may be registered with its own.
DRAWN = {
    "sd3": (28, 2),
    "flux1": (28, 1),
    "flux2": (50, 1),
    "flux2-klein": (50, 2),
    "qwen-image": (50, 2),
    "z-image": (50, 2),
}
UNGUIDED = {"z-image": 0}  # the most guidance that is none; of others it is 1
RECOMPUTED_TIME, RECOMPUTED_SHARE = 4 / 3, 0.25  # of a step that computes twice what it does not keep
ALL_PARTS = {
    "sd1": 1.24,
    "sd2": 1.49,
    "sdxl": 1.35,
    "sd3": 1.7,
    "flux1": 1.42,
    "flux2": 1.75,
    "flux2-klein": 2.06,
    "qwen-image": 1.41,
    "z-image": 1.67,
}  # with text encoders and VAE, for one
ADAPTED = {  # numbers of an adapter of rank 1, and parameters of the network
    "sd1": (199_296, 859_520_964),
    "sd2": (207_488, 865_910_724),
    "sdxl": (1_451_520, 2_567_463_684),
    "sd3": (1_288_960, 8_056_627_520),
    "flux1": (1_634_304, 11_901_408_320),
    "flux2": (5_210_112, 32_223_281_152),
    "flux2-klein": (1_167_360, 3_875_544_576),
    "qwen-image": (2_211_840, 20_430_401_088),
    "z-image": (921_600, 6_154_908_736),
}
FILES: Mapping[Kind, int] = {"images": 3, "texts": 2}  # that hold an adapter's numbers, in float32
REST = {"prepare": 12.0, "score": 1.0, "export": 3.0, "surrogate": 0.02, "trial": 0.02, "train": 0.02}
LIBRARIES = 900_000_000  # bytes of host memory of a trainer that has loaded no backbone
TYPICAL_SIDES = (24, 1024, 2816, 50_000)
TYPICAL_BYTES: Mapping[Kind, int] = {"images": 2_000_000_000, "texts": 1_000_000_000}
FILE_BYTES: Mapping[Kind, int] = {"images": 4, "texts": 2}  # of a number in files whose numbers nobody has counted
MODULES = 128  # of images; of texts seven a layer


@dataclass(frozen=True)
class BackboneSize:
    """What the costs of a backbone follow from; `sides` are those of `text_sides`."""

    kind: Kind
    family: str
    weights_bytes: int  # of its files
    parameters: int  # of the network that is adapted
    modules: int  # that are adapted
    sides: tuple[int, int, int, int] = TYPICAL_SIDES
    drawn: tuple[int, int] = (DENOISED, GUIDED)  # of pictures steps, and samples of each

    @classmethod
    def of(cls, record: BackboneRecord, weights_bytes: int | None) -> BackboneSize:
        """Read what is recorded of a backbone, and guess the rest."""
        size = weights_bytes or TYPICAL_BYTES[record.kind]
        sides = _sides(record) if record.kind == "texts" else TYPICAL_SIDES
        parameters = record.parameters or _parameters(record.kind, record.family, size)
        modules = record.adapted_modules or (MODULES if record.kind == "images" else 7 * sides[0])
        return cls(record.kind, record.family, size, parameters, modules, sides, _drawn(record))

    @classmethod
    def typical(cls, kind: Kind) -> BackboneSize:
        """Return the size of a backbone of which nothing is known."""
        family, size = "sd1" if kind == "images" else "llama", TYPICAL_BYTES[kind]
        modules = MODULES if kind == "images" else 7 * TYPICAL_SIDES[0]
        return cls(kind, family, size, _parameters(kind, family, size), modules)

    @property
    def passes(self) -> tuple[int, int]:
        """The passes that a sample takes one after another, and the samples of each."""
        return self.drawn if self.kind == "images" else (ANSWERED, 1)

    @property
    def adapter(self) -> float:
        """The numbers of an adapter for each rank."""
        if self.kind == "texts":
            layers, hidden, inner, _ = self.sides
            return layers * (10 * hidden + 3 * inner)
        numbers, parameters = ADAPTED[self.family]
        return numbers * (self.parameters / parameters) ** 0.5  # both sides of a matrix grow with its root

    def kept(self, device_class: DeviceClass) -> float:
        """Return the bytes that a pass keeps of a picture of 512 px without its caption, or of a token."""
        if self.kind == "images":
            whole = kept_of_picture(self.family, TYPICAL_SIDE, self.parameters, device_class)
            return whole - self.captioned(device_class)
        return kept_of_token(*self.sides, device_class)

    def captioned(self, device_class: DeviceClass) -> float:
        """Return the bytes that a pass keeps of the caption of a picture of any size."""
        return kept_of_caption(self.family, self.parameters, device_class) if self.kind == "images" else 0.0


def thumb_prices(usual: JobSize, device: str, size: BackboneSize) -> Costs:
    """Return prices for a backbone of such a size; `usual` is a job that leaves everything to the service."""
    device_class: DeviceClass = "cuda" if device == "cuda" else "cpu"
    kept, captioned, numbers = size.kept(device_class), size.captioned(device_class), size.adapter
    on_device = device_class == "cuda"
    if on_device:
        weights = 2 * size.parameters * ALL_PARTS.get(size.family, 1.0)
        least = weights + ADAPTED_BYTES * numbers * usual.rank * usual.folds
        share = RECOMPUTED_SHARE if size.parameters > RECOMPUTED_ABOVE else 1.0
        kept, captioned = kept * share, captioned * share
    else:
        weights = LIBRARIES + float(size.weights_bytes)
        least = weights + size.weights_bytes / 2
    seconds: Mapping[str, Sequence[float]] = _gpu_seconds(size) if on_device else _cpu_seconds(size)
    return Costs(
        seconds=seconds,
        rest={stage: REST[stage] for stage in STAGES},
        warm_rest=1.0,
        memory=[least, kept, 0.0],
        least_memory=int(weights),
        on_device=on_device,
        sized_bytes=4 * numbers * FILES[size.kind],
        fixed_bytes=2e6,
        kept_bytes=4 * numbers,
        copies=COPIES,
        floors=_floors(size, usual.draws_eval) if on_device else {},
        evaluated_bytes=LOGIT_BYTES["cuda"] * size.sides[-1] if on_device and size.kind == "texts" else 0.0,
        captioned_bytes=captioned,
    )


def _cpu_seconds(size: BackboneSize) -> dict[str, list[float]]:
    scale = size.weights_bytes / GIGABYTE
    table = CPU_SECONDS[size.kind]
    seconds = {name: list(row) if name in UNSIZED else [row[0] * scale, *row[1:]] for name, row in table.items()}
    if size.kind == "images":
        seconds["sample"][0] *= math.prod(size.drawn) / (DENOISED * GUIDED)
    return seconds


def _gpu_seconds(size: BackboneSize) -> dict[str, list[float]]:
    """Return the coefficients of what is computed."""
    forward = FORWARD_OF.get(size.family, FORWARD[size.kind]) * size.parameters / (SHARE[size.kind] * CARD)
    again = RECOMPUTED_TIME if size.parameters > RECOMPUTED_ABOVE else 1.0
    units = {kind: passes * forward * (again if kind == "step" else 1.0) for kind, passes in PASSES.items()}
    units["sample"] = forward * math.prod(size.passes)
    units["encode"] = 0.02 if size.kind == "images" else 0.001
    units["load"] = 2.0 + size.weights_bytes / GIGABYTE
    return {kind: [each, *[0.0] * (len(FEATURES[kind]) - 1)] for kind, each in units.items()}


def _floors(size: BackboneSize, draws: int) -> dict[str, float]:
    """Return the seconds that the launches of one call take."""
    each = {kind: count * size.modules * LAUNCH_SECONDS for kind, count in LAUNCHES.items()}
    one = each["evaluation"]
    each["evaluation"] = one * draws
    each["sample"] = one * size.passes[0]
    return each


def _drawn(record: BackboneRecord) -> tuple[int, int]:
    """Return the steps of a picture, and the samples of each: as a backbone is registered, else as its family draws."""
    steps, samples = DRAWN.get(record.family, (DENOISED, GUIDED))
    unguided = record.defaults.get("guidance", GUIDED) <= UNGUIDED.get(record.family, 1)
    return int(record.defaults.get("sample_steps", steps)), 1 if unguided else samples


def _parameters(kind: Kind, family: str, weights_bytes: int) -> int:
    return int(weights_bytes / FILE_BYTES[kind] / ALL_PARTS.get(family, 1.0))


def _sides(record: BackboneRecord) -> tuple[int, int, int, int]:
    try:
        config = json.loads((record.path / "config.json").read_bytes())
    except (OSError, ValueError):
        return TYPICAL_SIDES
    inner = config.get("text_config") if isinstance(config, dict) else {}
    found = text_sides(inner if isinstance(inner, dict) else config)
    return found if all(found) else TYPICAL_SIDES

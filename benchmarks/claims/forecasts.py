"""Does a job's forecast hold? What the surrogates expect of unseen data, and what the final run then gained on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import nano
from benchmarks.arms import result_of
from benchmarks.records import Record
from benchmarks.rules import Replay, at, shown_by
from benchmarks.runs import Arm, train_arms
from benchmarks.world import Setting
from core.method.albat import train_surrogate

SEEDS, SIZES, RATE = range(12), (4, 8, 16), 4e-3


def forecasts(folder: Path) -> list[Record]:
    """Return forecast and truth of every dialect, size and seed of the small language model."""
    return [_one(setting, folder) for setting in _settings()]


def _settings() -> Iterator[Setting]:
    for seed in SEEDS:
        for name in nano.DIALECTS:
            yield from (Setting("nano", name, n, RATE, seed) for n in SIZES)


def _one(setting: Setting, folder: Path) -> Record:
    world = nano.world(setting, folder)
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    evidence, arm = shown_by(surrogate.curves), Arm("none")
    curve = train_arms(world, {"none": arm}, lean=True)[0]["none"]
    published = Replay(world, arm, curve).matched(evidence)
    gained = 1 - at(curve, curve.heldout, published) / curve.heldout[0]
    return {
        "set": setting.set,
        "n": setting.n,
        "seed": setting.seed,
        "gain": round(evidence.gain, 5),
        "standard_error": round(evidence.standard_error, 5),
        "spread": round(evidence.spread, 5),
        "true": round(gained, 5),
    }

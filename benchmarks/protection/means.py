"""The arms of the study: by what means, with what weight, on what and in which share of the batch each protects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.updates import USUAL, Updates

Means = Literal["replay", "distil", "both", "none"]
# own: what it makes of captions that it has learned. generated: what it makes where none of its data is known, of plain
# prompts. blank: the empty caption on the references' own pictures.
Ground = Literal["pool", "own", "generated", "captions", "blank"]


@dataclass(frozen=True)
class ProtectionArm:
    """One way to protect a backbone, or to go without."""

    means: Means = "none"
    weight: float = 1.0
    on: Ground = "pool"
    gamma: float = 0.0
    updates: Updates = USUAL

    @property
    def name(self) -> str:
        """Return what it is called in records and tables: `distil 4 own .5`."""
        share = f"{self.gamma:g}".lstrip("0")
        protects = "none" if self.means == "none" else f"{self.means} {self.weight:g} {self.on} {share}"
        changed = {"rate": self.updates.rate != 1, "decay": self.updates.decay, "drift": self.updates.drift}
        told = [f"{name} {getattr(self.updates, name):g}" for name, holds in changed.items() if holds]
        return ", ".join([protects, *told])


NONE = ProtectionArm()


def _arms(*rows: tuple[Means, float, Ground, float]) -> tuple[ProtectionArm, ...]:
    return NONE, *(ProtectionArm(*row) for row in rows)


# The first that protects is BAT as its paper has it: the pool's own data, counted like references.
IMAGES = _arms(
    ("replay", 1, "pool", 0.5),
    ("replay", 4, "pool", 0.5),
    ("replay", 4, "pool", 0.25),
    ("distil", 4, "pool", 0.5),
    ("distil", 4, "own", 0.5),
    ("distil", 4, "captions", 0.5),
)
TEXTS = _arms(
    ("replay", 1, "pool", 0.25),
    ("replay", 4, "pool", 0.25),
    ("distil", 1, "pool", 0.25),
    ("distil", 4, "pool", 0.25),
    ("distil", 4, "own", 0.25),
)
HELD_BACK = tuple(ProtectionArm(updates=one) for one in (Updates(rate=0.5), Updates(decay=0.3), Updates(drift=0.01)))
# What else is done against forgetting, without another network: each beside the plain run of the same experiment.
OTHERS: Sequence[ProtectionArm] = (
    NONE,
    ProtectionArm("replay", 1, "pool", 0.5),
    ProtectionArm("replay", 1, "own", 0.5),  # prior preservation, as DreamBooth has it
    ProtectionArm("distil", 4, "blank", 0.5),  # blank-caption preservation
    ProtectionArm("replay", 1, "pool", 0.25),
    ProtectionArm("replay", 16, "pool", 0.25),
    ProtectionArm("distil", 4, "own", 0.25),
    ProtectionArm("distil", 4, "captions", 0.25),
    *HELD_BACK,
)
OTHERS_OF_TEXTS: Sequence[ProtectionArm] = (
    NONE,
    ProtectionArm("replay", 1, "pool", 0.25),
    ProtectionArm("replay", 1, "pool", 0.5),
    ProtectionArm("replay", 16, "pool", 0.25),
    ProtectionArm("distil", 4, "pool", 0.5),
    ProtectionArm("both", 4, "pool", 0.25),
    ProtectionArm("distil", 1, "own", 0.25),
    *HELD_BACK,
)
# What a pool that the backbone makes itself is worth beside the data that it has learned from.
GENERATED = _arms(
    ("replay", 1, "pool", 0.5),
    ("replay", 1, "generated", 0.5),
    ("distil", 4, "pool", 0.5),
    ("distil", 4, "generated", 0.5),
)
GENERATED_TEXTS = _arms(
    ("replay", 1, "pool", 0.25),
    ("replay", 1, "generated", 0.25),
    ("distil", 4, "pool", 0.25),
    ("distil", 4, "generated", 0.25),
)

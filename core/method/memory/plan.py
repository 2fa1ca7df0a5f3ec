"""How many samples of each kind of work fit into a device at once: what is free there, and what each of them takes.

Arithmetic alone, without torch: who foretells a job plans with the same figures. Weights lie on the device when a job
plans, so they are no part of what is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.parameters.memory import EVALUATED_LOGIT_BYTES, LEARNING_BYTES
from core.parameters.schedule import CANDIDATES_AT_ONCE, EVALUATED_AT_ONCE, GRADIENTS_AT_ONCE

Sampled = Literal["step", "score", "gradient", "evaluation", "encode"]
# Beside, what is not planned by samples, only halved: rows of gradients, by their numbers, and what a backbone draws.
Work = Sampled | Literal["rows", "sample"]
ENCODED_AT_ONCE = 32
SPARED = 0.1  # of what is free: for what libraries take, and for gaps between pieces (our choice)
HELD = 0.25  # of what is free, that rows of gradients may fill: they are there twice while they are sorted (our choice)
# Of a number of one example's own gradient: a copy of the adapter's, its gradient, and the row that is kept.
OWN_GRADIENT_BYTES = 12
# A pass that keeps nothing holds a few layers at once, of the many that one with a backward pass keeps (our choice).
EVALUATED_SHARE = 1 / 8


@dataclass(frozen=True)
class Sample:
    """Bytes that one sample takes while it is computed, by kind of work."""

    step: int
    score: int
    gradient: int
    evaluation: int
    encode: int = 0

    @classmethod
    def of(cls, kept: int, parameters: int, *, scored: int | None = None, logits: int = 0, encode: int = 0) -> Sample:
        """Estimate from what is `kept` of a sample for a backward pass, in scoring perhaps more, and D `parameters`.

        `logits` are those of a text, tokens times words.
        """
        evaluated = EVALUATED_LOGIT_BYTES * logits if logits else int(kept * EVALUATED_SHARE)
        return cls(kept, scored or kept, kept + OWN_GRADIENT_BYTES * parameters, evaluated, encode)


def most(work: Sampled, *, runs: int = 1, batch: int = 1) -> int:
    """Return how many samples of the work are computed at once where memory does not matter."""
    usual: Mapping[Sampled, int] = {
        "step": runs * batch,
        "score": CANDIDATES_AT_ONCE,
        "gradient": GRADIENTS_AT_ONCE,
        "evaluation": max(runs, EVALUATED_AT_ONCE // runs * runs),
        "encode": ENCODED_AT_ONCE,
    }
    return usual[work]


def fitting(free: int, each: float, usual: int, reserved: int = 0) -> int:
    """Return how many samples of `each` so many bytes are computed at once: `usual`, or fewer, but at least one."""
    return max(1, min(usual, int(room(free, reserved) // max(1.0, each))))


def fits(free: int, each: float, reserved: int = 0) -> bool:
    """Tell whether one sample at once is foretold to fit."""
    return each <= room(free, reserved)


def room(free: int, reserved: int = 0) -> int:
    """Return the bytes that samples may take of what is free, where so many are reserved for what is learned."""
    return max(0, int(free * (1 - SPARED)) - reserved)


def learning(parameters: int, runs: int) -> int:
    """Return the bytes that gradients and moments of so many runs will take."""
    return LEARNING_BYTES * parameters * runs


def plan(free: int, sample: Sample, parameters: int, *, runs: int, batch: int) -> Mapping[Sampled, int]:
    """Return how many samples of each kind of work are computed at once in a job of `runs` surrogates."""
    reserved: Mapping[Sampled, int] = {"step": learning(parameters, runs)}
    works: tuple[Sampled, ...] = ("step", "score", "gradient", "evaluation", "encode")
    return {
        work: fitting(free, getattr(sample, work), most(work, runs=runs, batch=batch), reserved.get(work, 0))
        for work in works
    }


def row_floats(free: int | None, usual: int) -> int:
    """Return how many numbers of gradients are held at once: the usual, or of a device a share of what is free."""
    return usual if free is None else max(1, int(free * HELD) // 4)


def grid(runs: int, samples: int, at_once: int) -> list[tuple[slice, slice]]:
    """Cut `samples` of each of `runs` into pieces of at most so many, a part of the runs and of their samples each.

    Whole columns as long as one fits: samples of all runs side by side.
    """
    width = min(samples, max(1, at_once // runs))
    height = min(runs, max(1, at_once))
    return [
        (slice(row, min(row + height, runs)), slice(column, min(column + width, samples)))
        for column in range(0, samples, width)
        for row in range(0, runs, height)
    ]

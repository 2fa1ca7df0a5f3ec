"""What jobs of sizes that people train come to, by the arithmetic that jobs plan with and bytes that are foretold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.backbones.memory_needs import LOGIT_BYTES
from core.method.memory.plan import ENCODED_AT_ONCE, fitting, learning, room
from core.parameters.schedule import CANDIDATES_AT_ONCE, EVALUATED_AT_ONCE, GRADIENTS_AT_ONCE

Sampled = Literal["step", "score", "gradient", "evaluation", "encode"]
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
        evaluated = LOGIT_BYTES["cuda"] * logits if logits else int(kept * EVALUATED_SHARE)
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


def fits(free: int, each: float, reserved: int = 0) -> bool:
    """Tell whether one sample at once is foretold to fit."""
    return each <= room(free, reserved)


def plan(free: int, sample: Sample, parameters: int, *, runs: int, batch: int) -> Mapping[Sampled, int]:
    """Return how many samples of each kind of work are computed at once in a job of `runs` surrogates."""
    reserved: Mapping[Sampled, int] = {"step": learning(parameters, runs)}
    works: tuple[Sampled, ...] = ("step", "score", "gradient", "evaluation", "encode")
    return {
        work: fitting(free, getattr(sample, work), most(work, runs=runs, batch=batch), reserved.get(work, 0))
        for work in works
    }

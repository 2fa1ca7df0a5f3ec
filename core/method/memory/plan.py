"""How many samples of each kind of work fit into a device at once: what is free there, and what each of them takes.

Arithmetic alone, without torch. Weights lie on the device when a job plans, so they are no part of what is free.
"""

from __future__ import annotations

from typing import Literal

from core.parameters.memory import LEARNING_BYTES

# Planned by samples; rows of gradients and what a backbone draws are only halved.
Work = Literal["step", "score", "gradient", "evaluation", "encode", "rows", "sample"]
ENCODED_AT_ONCE = 32
SPARED = 0.1  # of what is free: for what libraries take, and for gaps between pieces (our choice)
HELD = 0.25  # of what is free, that rows of gradients may fill: they are there twice while they are sorted (our choice)


def fitting(free: int, each: float, usual: int, reserved: int = 0) -> int:
    """Return how many samples of `each` so many bytes are computed at once: `usual`, or fewer, but at least one."""
    return max(1, min(usual, int(room(free, reserved) // max(1.0, each))))


def room(free: int, reserved: int = 0) -> int:
    """Return the bytes that samples may take of what is free, where so many are reserved for what is learned."""
    return max(0, int(free * (1 - SPARED)) - reserved)


def learning(parameters: int, runs: int) -> int:
    """Return the bytes that gradients and moments of so many runs will take."""
    return LEARNING_BYTES * parameters * runs


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

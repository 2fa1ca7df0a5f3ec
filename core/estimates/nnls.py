"""Least squares with coefficients of at least 0, for a handful of points: no library, so that any process can fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

ROUNDS = 2000
DOUBTED = 0.15  # a point that lies further off, relative to itself, counts for less


def fit(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Return coefficients c >= 0 for which rows @ c is near the values, relative to each; outliers count for less.

    Where the points do not say which feature is behind a value, it is the first of them.
    """
    points = [(row, value) for row, value in zip(rows, values, strict=True) if value > 0]
    if not points:
        return [0.0] * (len(rows[0]) if rows else 0)
    weights = [1.0] * len(points)
    for _ in range(3):
        found = _solve([[x / value for x in row] for row, value in points], weights)
        off = [abs(_product(row, found) / value - 1) for row, value in points]
        weights = [1.0 if far <= DOUBTED else DOUBTED / far for far in off]
    return found


def _solve(rows: list[list[float]], weights: Sequence[float]) -> list[float]:
    """Return the coefficients for which every row gives 1, by coordinate descent from 0."""
    width = len(rows[0])
    scales = [max(abs(row[at]) for row in rows) or 1.0 for at in range(width)]
    scaled = [[x / scale for x, scale in zip(row, scales, strict=True)] for row in rows]
    square = [sum(w * row[at] ** 2 for w, row in zip(weights, scaled, strict=True)) for at in range(width)]
    found, left = [0.0] * width, [1.0] * len(rows)
    for _ in range(ROUNDS):
        moved = 0.0
        for at in range(width):
            if not square[at]:
                continue
            slope = sum(w * row[at] * rest for w, row, rest in zip(weights, scaled, left, strict=True))
            change = max(-found[at], slope / square[at])
            found[at] += change
            left = [rest - change * row[at] for row, rest in zip(scaled, left, strict=True)]
            moved = max(moved, abs(change))
        if moved < 1e-9:
            break
    return [value / scale for value, scale in zip(found, scales, strict=True)]


def _product(row: Sequence[float], coefficients: Sequence[float]) -> float:
    return math.fsum(x * c for x, c in zip(row, coefficients, strict=True))

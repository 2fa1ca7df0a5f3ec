"""A job's curves with no more rows than a chart has room for: of every curve the ends and the extremes stay.

Every curve gets a fair share of the rows: one that was measured seldom keeps all of its values, and of another the
lowest and the highest of each of many stretches are kept. What is drawn has the outline of the whole.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from api.schemas.jobs import MetricObject
from api.serializers.jobs import metric_object
from core.database.tables import Metric

PLACES = frozenset({"turning_point", "cs_step"})  # numbers that name a step and are no curve
ROWS_AT_ONCE = 5000  # in one statement: none takes long, and the rows of none fill the memory


@dataclass
class Curve:
    """One curve's values, in the order of their steps."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def extremes(self, start: int, end: int) -> tuple[int, int]:
        """Return the steps of the lowest and of the highest value between two places."""
        part = self.values[start:end]
        return self.steps[start + part.index(min(part))], self.steps[start + part.index(max(part))]

    @property
    def moves(self) -> bool:
        """Tell whether there is anything to see but a level line."""
        return min(self.values) < max(self.values)


def thinned(session: Session, job_id: str, stages: Sequence[str], points: int) -> Iterator[MetricObject]:
    """Yield at most `points` rows of each stage, each row with all curves of the stage: null where one has no value."""
    for stage in stages:
        steps, curves = _read(session, job_id, stage)
        for row in _rows(session, job_id, stage, sorted(kept(steps, list(curves.values()), points))):
            nothing = dict.fromkeys(curves)
            yield metric_object(row, nothing)


def kept(steps: Sequence[int], curves: Sequence[Curve], points: int) -> set[int]:
    """Return at most `points` of the steps: the ends, then every curve's extremes and ends, then fair shares."""
    if len(steps) <= points:
        return set(steps)
    chosen = {steps[0], steps[-1]}
    moving = sorted((curve for curve in curves if curve.moves), key=lambda curve: len(curve.steps))
    for curve in moving:
        _add(chosen, curve.extremes(0, len(curve.steps)), points)
    for curve in moving:
        _add(chosen, (curve.steps[0], curve.steps[-1]), points)
    for number, curve in enumerate(moving):
        share = (points - len(chosen)) // (len(moving) - number)
        _add(chosen, _outline(curve, share), points)
    return chosen


def _add(chosen: set[int], steps: Sequence[int], most: int) -> None:
    for step in steps:
        if len(chosen) < most:
            chosen.add(step)


def _outline(curve: Curve, share: int) -> Sequence[int]:
    """Return all of a short curve's steps, or the extremes of as many stretches as the share is enough for."""
    amount, stretches = len(curve.steps), share // 2
    if amount <= share:
        return curve.steps
    ends = [amount * number // stretches for number in range(stretches + 1)] if stretches else []
    return [step for start, end in pairwise(ends) for step in curve.extremes(start, end)]


def _read(session: Session, job_id: str, stage: str) -> tuple[array[int], dict[str, Curve]]:
    """Return a stage's steps and its curves by name."""
    steps, curves = array("q"), dict[str, Curve]()
    # as text: a thousand rows are parsed in one go, in a fraction of the time
    statement = select(Metric.step, cast(Metric.data, Text)).where(Metric.job_id == job_id, Metric.stage == stage)
    while True:
        later = statement.where(Metric.step > steps[-1]) if steps else statement
        rows = session.execute(later.order_by(Metric.step).limit(ROWS_AT_ONCE)).all()
        for (step, _), values in zip(rows, json.loads(f"[{','.join(text for _, text in rows)}]"), strict=True):
            steps.append(step)
            for name, value in values.items():
                if isinstance(value, int | float) and name not in PLACES:
                    curve = curves.get(name) or curves.setdefault(name, Curve())
                    curve.steps.append(step)
                    curve.values.append(value)
        if len(rows) < ROWS_AT_ONCE:
            return steps, curves


def _rows(session: Session, job_id: str, stage: str, steps: Sequence[int]) -> Iterator[Metric]:
    statement = select(Metric).where(Metric.job_id == job_id, Metric.stage == stage).order_by(Metric.step)
    for start in range(0, len(steps), ROWS_AT_ONCE):
        yield from session.scalars(statement.where(Metric.step.in_(steps[start : start + ROWS_AT_ONCE])))

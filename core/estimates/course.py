"""How far a job is and how long it still takes: what was expected of each stage, corrected by the job's own pace.

    left = r_s e_s (1 - share) + r (e of all later stages)

e are the expected seconds of a stage, of which a share is done. r says how much slower this job is than was expected:
the seconds of its steps over those expected of them, with what was expected counted as evidence too. r_s is the same of
the stage in work, which begins at r. So nothing jumps where a stage begins; where one ends before its budget or goes on
beyond it, what is told moves there within some per cent of the job's time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import AlbatrossError
from core.estimates.estimator import Estimator
from core.estimates.forecast import Forecast
from core.estimates.sizes import JobSize
from core.estimates.summaries import Summary
from core.findings.texts.lengths import TextSize
from core.parameters.parameters import Parameters
from core.parameters.request import JobRequest
from core.parameters.schedule import STAGES
from core.parameters.service_defaults import ServiceDefaults

PRIOR = 0.25  # of the job's seconds: so much evidence the estimate itself is
STAGE_PRIOR = 0.1  # of a stage's
SMOOTHED = 0.05  # of the job's seconds, in which two thirds of a change are told
COUNTED = frozenset({"surrogate", "score", "trial", "train"})  # whose steps take about equally long
UNTOLD = 0.95  # of a stage without such steps that time alone makes out as done
MOST = 0.99  # of a job that has not succeeded yet
DONE, SKIPPED = "done", "skipped"
Json = dict[str, Any]


@dataclass
class Leg:
    """One stage: seconds that were planned for it, that are expected now, and that all attempts have spent in it."""

    planned: float
    expected: float
    seconds: float = 0.0
    state: str | None = None  # done or skipped


@dataclass(frozen=True)
class Place:
    """Where the stage in work stands; `worked` are the seconds that were expected of what is done."""

    share: float = 0.0
    worked: float = 0.0
    left: float | None = None  # seconds, where the stage knows better


def planned(
    estimator: Estimator,
    defaults: ServiceDefaults,
    request: JobRequest,
    seed: int,
    count: int,
    texts: Sequence[TextSize] = (),
    validation: int = 0,
) -> Json | None:
    """Return the course of a new job, as its row keeps it; None where its request can't be resolved.

    None of its files is opened for that: its worker will know better.
    """
    record = estimator.record
    summary = Summary(count).for_resolving(record.kind)
    try:
        parameters = defaults.resolve(
            request.bat_or_defaults(), request.chosen(), backbone=record, summary=summary, seed=seed
        )
        forecast = estimator.forecast(JobSize.of(parameters), estimator.data(count, texts, validation))
    except (AlbatrossError, ArithmeticError, TypeError, ValueError):  # the job itself will say why
        return None
    return {"stages": {stage: vars(leg) for stage, leg in _legs(forecast).items()}, "overall": 0.0}


def of_export(estimator: Estimator, parameters: Mapping[str, Any] | None) -> Json | None:
    """Return the course of a new job that publishes a kept step of another with these parameters, as its row keeps it.

    None where they are not those of this version: its worker will know better.
    """
    try:
        forecast = estimator.export_alone(JobSize.of(Parameters.model_validate(parameters)))
    except (ArithmeticError, TypeError, ValueError):
        return None
    return {"stages": {stage: vars(leg) for stage, leg in _legs(forecast).items()}, "overall": 0.0}


def _legs(forecast: Forecast) -> dict[str, Leg]:
    """Return what is expected of every stage; one that computes nothing is skipped."""
    legs = {}
    for stage in STAGES:
        seconds = 0.0 if stage in forecast.idle else round(forecast.stages[stage].expected, 1)
        legs[stage] = Leg(seconds, seconds, state=SKIPPED if stage in forecast.idle else None)
    return legs


class Course:
    """The way of one job through its stages, in one attempt; `stored` is what its row keeps of attempts before.

    The stages `finished` are as good as they were. An attempt that finds none begins from scratch, and only then what
    is done overall is less than before.
    """

    def __init__(
        self,
        forecast: Forecast,
        stored: Mapping[str, Any] | None = None,
        finished: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._at = clock, clock()
        self._steps, self.legs = forecast.steps, _legs(forecast)
        self._spent, self._worked = 0.0, 0.0  # measured seconds, and those that were expected of the same work
        self._overall = 0.0
        self._take_up(stored or {}, finished)
        self._stage = next((stage for stage in STAGES if stage not in finished), STAGES[-1])
        self._entered = self.legs[self._stage].seconds
        self._first: tuple[float, float] | None = None  # seconds and work of the stage at its first line
        self._place = Place()
        self._told: tuple[float, float] | None = None  # what was told, and when

    def _take_up(self, stored: Mapping[str, Any], finished: Sequence[str]) -> None:
        for stage, row in (stored.get("stages") or {}).items():
            leg = self.legs[stage]
            leg.seconds = row["seconds"]
            if stage in finished:
                leg.planned, leg.state = row["planned"], row["state"] or DONE
        for stage in finished:
            self.legs[stage].state = self.legs[stage].state or DONE
        if finished:
            self._overall = stored.get("overall", 0.0)
            self._spent, self._worked = stored.get("spent", 0.0), stored.get("worked", 0.0)

    def move(self, stage: str, step: int, share: float, left: float | None = None) -> None:
        """Note where a stage stands; `left` are its seconds, where it knows them better than its steps tell."""
        self._tick()
        if stage != self._stage:
            self._enter(stage)
        leg = self.legs[stage]
        expected = self._steps.get(stage, 0)
        self._place = Place(share, leg.planned * (step / expected if expected else share), left)
        if share and leg.state == SKIPPED:
            leg.state = None
        if self._first is None:
            self._first = leg.seconds, self._place.worked

    def finish(self, stage: str, *, idle: bool = False) -> None:
        """Note that a stage is done, or that there was nothing to do in it."""
        self._tick()
        if stage != self._stage:
            self._enter(stage)
        spent, worked = self._measured()
        self._spent, self._worked = self._spent + spent, self._worked + worked
        leg = self.legs[stage]
        leg.state = SKIPPED if idle or leg.state == SKIPPED else DONE
        later = STAGES[STAGES.index(stage) + 1 :]
        if later:
            self._enter(later[0])
        else:
            self._first, self._place = None, Place(1.0, leg.planned)

    def _enter(self, stage: str) -> None:
        self._stage, self._first, self._place = stage, None, Place()
        self._entered = self.legs[stage].seconds

    def _tick(self) -> None:
        at = self._clock()
        self.legs[self._stage].seconds += at - self._at
        self._at = at

    def _measured(self) -> tuple[float, float]:
        """Return the seconds of the steps of the stage in work, and those that were expected of them."""
        if self._first is None or self._stage not in COUNTED:
            return 0.0, 0.0
        seconds, worked = self._first
        return self.legs[self._stage].seconds - seconds, max(0.0, self._place.worked - worked)

    @property
    def _whole(self) -> float:
        return sum(leg.planned for leg in self.legs.values()) or 1.0

    def _ratio(self, spent: float = 0.0, worked: float = 0.0) -> float:
        prior = PRIOR * self._whole
        return (prior + self._spent + spent) / (prior + self._worked + worked)

    def _here(self) -> float:
        """Return the seconds that the stage in work still takes."""
        leg, place, usual = self.legs[self._stage], self._place, self._ratio()
        if leg.state is not None:
            return 0.0
        if place.left is not None:
            return place.left
        if self._stage not in COUNTED:
            return usual * (leg.planned - self._made_out(usual))
        spent, worked = self._measured()
        prior = STAGE_PRIOR * leg.planned
        pace = (prior * usual + spent) / (prior + worked) if prior + worked else usual
        return pace * leg.planned * (1 - place.share)

    def _made_out(self, usual: float) -> float:
        """Return the seconds expected of what is done of a stage of few unequal parts: by them, or else by the time."""
        leg = self.legs[self._stage]
        by_time = min((leg.seconds - self._entered) / usual, UNTOLD * leg.planned)
        return max(leg.planned * self._place.share, by_time)

    def eta(self) -> float:
        """Return the seconds until the job's end, as they are told."""
        self._tick()
        here, later = self._here(), self._ratio(*self._measured())
        for leg in self.legs.values():
            leg.expected = later * leg.planned if leg.state is None else leg.seconds * (leg.state == DONE)
        leg = self.legs[self._stage]
        if leg.state is None:
            leg.expected = leg.seconds + here
        rest = here + sum(leg.expected for leg in self._later())
        return self._smoothed(rest)

    def _later(self) -> list[Leg]:
        legs = [self.legs[stage] for stage in STAGES[STAGES.index(self._stage) + 1 :]]
        return [leg for leg in legs if leg.state is None]

    def _smoothed(self, rest: float) -> float:
        if self._told is not None:
            told, when = self._told
            passed = self._at - when
            aged = told - passed
            time_constant = SMOOTHED * max(1.0, rest + sum(leg.seconds for leg in self.legs.values()))
            rest = max(0.0, aged + (rest - aged) * (1 - math.exp(-passed / time_constant)))
        self._told = rest, self._at
        return round(rest, 1)

    def overall(self) -> float:
        """Return the share of the whole job that is done, by the seconds that were planned: it never falls."""
        done = sum(leg.planned for leg in self.legs.values() if leg.state == DONE)
        leg = self.legs[self._stage]
        if leg.state is None:
            counted = self._stage in COUNTED
            done += leg.planned * self._place.share if counted else self._made_out(self._ratio())
        self._overall = max(self._overall, min(MOST, done / self._whole))
        return self._overall

    def stored(self) -> Json:
        """Return what the job's row keeps; ask for `eta` before."""
        legs = {
            stage: vars(replace(leg, expected=round(leg.expected, 1), seconds=round(leg.seconds, 1)))
            for stage, leg in self.legs.items()
        }
        measured = {"spent": self._spent, "worked": self._worked}
        return {"stages": legs, "overall": self.overall()} | measured

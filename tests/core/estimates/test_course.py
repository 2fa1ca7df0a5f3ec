"""How far a job is and how long it still takes, at paces that nobody foresaw."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest

from core.estimates.course import DONE, MOST, SKIPPED, Course
from core.estimates.forecast import Forecast, Range
from core.parameters.schedule import STAGES

EXPECTED = {"prepare": 30, "surrogate": 100, "score": 120, "trial": 130, "train": 200, "export": 60}
STEPS = {"surrogate": 80, "trial": 100, "train": 160}  # that are expected
BUDGETS = {"prepare": 3, "surrogate": 100, "score": 60, "trial": 130, "train": 200, "export": 12}
NOTHING = Range(0.0, 0.0, 0.0)
# of the job's seconds, by which the foretold end moves at most from one line to the next
BOUND = 0.1
Pace = Callable[[str], float]


def foretold(idle: frozenset[str] = frozenset()) -> Forecast:
    stages = {name: Range(seconds / 2, seconds, 2 * seconds) for name, seconds in EXPECTED.items()}
    return Forecast(stages, NOTHING, False, NOTHING, "", 1, 1, STEPS, idle)


class Simulated:
    """A job whose clock goes on with its steps; `told` has the time, what is left and what is done at every line."""

    def __init__(self, pace: Pace, ends: Mapping[str, int] | None = None) -> None:
        self.time, self.pace, self.ends = 0.0, pace, ends or {}
        self.told: list[tuple[float, float, float]] = []
        self.course = self.attempt()

    def attempt(self, finished: tuple[str, ...] = ()) -> Course:
        stored = self.course.stored() if self.told else None
        return Course(foretold(), stored, finished, clock=lambda: self.time)

    def tell(self) -> None:
        self.told.append((self.time, self.course.eta(), self.course.overall()))

    def run(self, stages: tuple[str, ...] = STAGES) -> None:
        self.tell()
        for stage in stages:
            expected = STEPS.get(stage, BUDGETS[stage])
            for step in range(self.ends.get(stage, expected) + 1):
                self.time += EXPECTED[stage] * self.pace(stage) / expected if step else 0
                self.course.move(stage, step, min(1.0, step / BUDGETS[stage]))
                self.tell()
            self.course.finish(stage)
            self.tell()


PACES: dict[str, tuple[Pace, dict[str, int]]] = {
    "as expected": (lambda _: 1.0, {}),
    "a slow machine": (lambda _: 4.0, {}),
    "a fast machine": (lambda _: 0.25, {}),
    **{f"four times the {name}": (lambda stage, slow=name: 4.0 if stage == slow else 1.0, {}) for name in STAGES},
    "stages that end early": (lambda _: 1.0, {"surrogate": 20, "score": 6, "train": 30}),
    "stages that use up their budgets": (lambda _: 1.0, BUDGETS),
}


@pytest.mark.parametrize("name", PACES)
def test_what_is_left_never_jumps_whatever_the_pace(name: str) -> None:
    job = Simulated(*PACES[name])
    job.run()
    for (before, left, _), (after, then, _) in itertools.pairwise(job.told):
        passed = after - before
        assert abs(then - (left - passed)) <= BOUND * (before + left) + passed
        assert then - left <= BOUND * (before + left)


@pytest.mark.parametrize("name", PACES)
def test_what_is_done_of_the_whole_never_falls_and_is_all_only_once_it_has_succeeded(name: str) -> None:
    job = Simulated(*PACES[name])
    job.run()
    shares = [overall for _, _, overall in job.told]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == MOST


def test_a_job_that_goes_as_expected_is_foretold_to_the_end() -> None:
    job = Simulated(lambda _: 1.0)
    job.run()
    assert all(abs(at + left - job.time) <= 0.06 * job.time for at, left, _ in job.told)


def test_a_slow_machine_is_known_by_the_middle_of_the_job() -> None:
    job = Simulated(lambda _: 4.0)
    job.run()
    assert job.told[0][1] == sum(EXPECTED.values())
    late = [(at, left) for at, left, _ in job.told if at > 0.6 * job.time]
    assert all(abs(at + left - job.time) <= 0.12 * job.time for at, left in late)


def test_a_stage_that_is_slow_alone_is_forgotten_by_those_that_are_not() -> None:
    job = Simulated(lambda stage: 4.0 if stage == "surrogate" else 1.0)
    job.run()
    at, left, _ = next(told for told in job.told if told[0] > 0.9 * job.time)
    assert abs(at + left - job.time) <= 0.1 * job.time


def test_seconds_are_those_of_all_attempts_and_not_those_between_them() -> None:
    job = Simulated(lambda _: 1.0)
    job.run(STAGES[:2])
    job.course.move("score", 30, 0.5)
    job.time += 10
    job.tell()
    done = job.course.overall()
    first = job.course.stored()
    job.time += 5000  # paused
    job.course = job.attempt(STAGES[:2])
    job.time += 7  # the trainer starts
    job.course.move("score", 30, 0.5)
    assert job.course.eta() == pytest.approx(0.5 * 120 + 130 + 200 + 60, rel=0.15)
    legs = job.course.stored()["stages"]
    assert legs["score"]["seconds"] == pytest.approx(first["stages"]["score"]["seconds"] + 7)
    assert legs["surrogate"] == first["stages"]["surrogate"]
    assert legs["surrogate"]["state"] == DONE
    assert job.course.overall() == done


def test_only_an_attempt_that_finds_nothing_to_go_on_from_begins_again_at_nothing() -> None:
    job = Simulated(lambda _: 1.0)
    job.run(STAGES[:3])
    assert job.course.overall() > 0.35
    assert job.attempt(("prepare",)).overall() == job.course.overall()
    scratch = job.attempt()
    assert scratch.overall() == 0.0
    assert scratch.stored()["stages"]["surrogate"]["seconds"] == 100
    assert all(leg.state is None for leg in scratch.legs.values())


def test_stages_that_compute_nothing_are_skipped_and_weigh_nothing() -> None:
    clock = itertools.count()
    course = Course(foretold(frozenset({"score", "trial"})), clock=lambda: float(next(clock)))
    assert (course.legs["score"].state, course.legs["score"].expected) == (SKIPPED, 0.0)
    assert course.eta() == pytest.approx(30 + 100 + 200 + 60, abs=3)
    for stage in STAGES[:4]:
        course.finish(stage)
    assert [course.legs[name].state for name in STAGES] == [DONE, DONE, SKIPPED, SKIPPED, None, None]
    assert course.overall() == pytest.approx(130 / 390)


def test_a_stage_that_turns_out_to_have_nothing_to_do_is_skipped_and_one_that_has_is_not() -> None:
    course = Course(foretold(frozenset({"score"})), clock=lambda: 0.0)
    course.finish("prepare")
    course.finish("surrogate")
    course.move("score", 3, 0.1)
    course.finish("score")
    course.finish("trial", idle=True)
    assert [course.legs[name].state for name in STAGES[2:4]] == [DONE, SKIPPED]


def test_what_is_believed_of_a_stage_moves_with_the_pace() -> None:
    job = Simulated(lambda _: 4.0)
    job.run(STAGES[:2])
    legs = job.course.stored()["stages"]
    assert legs["surrogate"]["expected"] == legs["surrogate"]["seconds"] == 400
    assert 1.5 * EXPECTED["train"] < legs["train"]["expected"] < 4 * EXPECTED["train"]

"""Estimates: work counted by hand, prices found again on an invented device, and what a finished job teaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.estimates.default_costs import BackboneSize
from core.estimates.estimator import Estimator
from core.estimates.forecast import model
from core.estimates.measurements import Measured
from core.estimates.sizes import DataSize, Steps
from core.estimates.workload import COPIES, MAX_SAMPLED_LENGTHS, longest, thinned, workload
from core.findings.texts.lengths import TextSize
from core.parameters.schedule import STAGES
from tests.core.estimates.measured import DATA, OTHER, SHAPE, SMALL, measured, true_stages
from tests.core.parameters.test_resolving import TEXT

CALIBRATED = [measured(SMALL, Steps(12, 24, 16)), measured(OTHER, Steps(12, 24, 16))]
STOPPED = replace(SHAPE, stop="max_steps")


def test_the_passes_of_a_job_are_those_that_a_person_counts() -> None:
    work = workload(SHAPE, DATA, Steps(8, 10, 20))
    step = work["surrogate"]["step"]
    assert (step.calls, step.size, step.runs) == (8, 4 * 6, 4)
    assert work["surrogate"]["evaluation"].calls == 9  # before training, and after each of the first 8 steps
    assert work["surrogate"]["evaluation"].size == 4 * 6 * 4  # surrogates, references, draws
    score, gradient, law = work["score"]["score"], work["score"]["gradient"], work["export"]["gradient"]
    assert score.calls * score.size == 8 * 100  # every draw once over half of 200 candidates
    assert gradient.calls * gradient.size == 6 * 8  # the scorers'
    assert law.calls * law.size == 6 * 8 + 16 * 8  # references and selected
    assert work["train"]["step"].size == 6
    assert work["export"]["sample"].calls * work["export"]["sample"].size == COPIES * (8 + 4)


TESTED, MANY = replace(SHAPE, tested=True), DataSize(references=6, candidates=2400, probe=16)


def test_scoring_that_may_end_after_its_first_part_is_counted_with_and_without_the_rest() -> None:
    whole, ended = (workload(TESTED, MANY, Steps(8, 10, 20, unscored))["score"] for unscored in (0.0, 1.0))
    assert whole["score"].calls * whole["score"].size == 8 * 1200
    assert ended["score"].calls * ended["score"].size == 8 * 120
    # the gradients of references are taken for the first part, and anew for the rest
    assert (whole["gradient"].calls * whole["gradient"].size, ended["gradient"].calls * ended["gradient"].size) == (
        2 * 6 * 8,
        6 * 8,
    )
    asked = workload(SHAPE, MANY, Steps(8, 10, 20, 1.0))["score"]
    assert asked["score"].calls * asked["score"].size == 8 * 1200


def test_a_forecast_expects_what_jobs_have_scored_and_the_whole_at_most() -> None:
    ended, gone_on = (measured(TESTED, Steps(40, 60, 90, unscored), data=MANY, source="job") for unscored in (1.0, 0.0))
    first, rest = (true_stages(TESTED, MANY, Steps(40, 60, 90, unscored))["score"] for unscored in (1.0, 0.0))
    for jobs, expected in (([], rest), ([ended], first), ([gone_on], rest), ([ended, gone_on], (first + rest) / 2)):
        told = model([*jobs, *CALIBRATED], SHAPE, "cpu: toy", None).forecast(TESTED, MANY).stages["score"]
        assert told.expected == pytest.approx(expected, rel=0.02)
        assert told.low < first
        assert told.high > rest
    asked = model([ended, *CALIBRATED], SHAPE, "cpu: toy", None).forecast(SHAPE, MANY).stages["score"]
    assert asked.expected > 5 * first  # whoever asks for a share has all of it scored


def test_a_job_that_was_measured_by_a_version_before_had_all_of_its_sample_scored() -> None:
    before = measured(SHAPE, Steps(40, 60, 90), source="job")
    before.work["score"]["facts"].clear()
    assert before.steps == Steps(40, 60, 90)


def test_a_picture_of_twice_the_side_is_four_times_the_work() -> None:
    steps = Steps(8, 10, 20)
    small, large = (workload(replace(SHAPE, resolution=side), DATA, steps) for side in (256, 512))
    assert large["train"]["step"].size == 4 * small["train"]["step"].size


def test_without_a_pool_nothing_is_scored_or_tried() -> None:
    work = workload(SHAPE, DataSize(references=6), Steps(8, 0, 20))
    assert work["score"] == work["trial"] == {}


@pytest.mark.parametrize(
    ("lengths", "amount", "expected"), [([10.0], 5, 10.0), ([10.0, 20.0], 1, 15.0), ([10.0, 20.0], 2, 17.5)]
)
def test_the_longest_of_several_texts(lengths: list[float], amount: int, expected: float) -> None:
    assert longest(lengths, amount) == pytest.approx(expected)


def test_the_longest_of_two_kinds_of_texts_is_that_of_both() -> None:
    assert longest([10.0, 20.0], 1, [30.0], 1) == 30.0
    assert longest([10.0, 20.0], 1, [15.0], 1) == pytest.approx((15 + 20) / 2)


def test_few_lengths_stand_for_those_of_many_texts() -> None:
    few = [30.0, 10.0, 20.0]
    assert thinned(few) == tuple(few)
    many = [float(40 + place * place % 977) for place in range(4_321)]
    kept = thinned(many)
    assert len(kept) == MAX_SAMPLED_LENGTHS
    assert sum(kept) / len(kept) == pytest.approx(sum(many) / len(many))
    for amount in (1, 4, 64):
        assert longest(kept, amount) == pytest.approx(longest(many[::10], amount), rel=0.03)
    assert thinned([0.0] * 100) == (0.0,) * MAX_SAMPLED_LENGTHS


def test_an_estimate_looks_at_few_lengths_however_many_texts_there_are() -> None:
    data = Estimator(TEXT, [], "cpu").data(4_000, [TextSize(200 + number, 1) for number in range(4_000)])
    assert (data.references, len(data.lengths)) == (4_000, MAX_SAMPLED_LENGTHS)
    assert sum(data.lengths) / MAX_SAMPLED_LENGTHS == pytest.approx(0.25 * (200 + 3_999 / 2))


@pytest.mark.parametrize("changes", [{}, {"rank": 8}, {"batch_size": 2}, {"max_steps": 400}, {"folds": 2}])
def test_two_short_runs_tell_what_a_long_job_takes(changes: dict[str, int]) -> None:
    """The prices of the invented device are found again, for sizes that were never measured."""
    shape = replace(STOPPED, **changes)
    forecast = model(CALIBRATED, SHAPE, "cpu: toy", None).forecast(shape, DATA)
    predicted = model(CALIBRATED, SHAPE, "cpu: toy", None).endings.steps(shape, protects=True)
    truth = true_stages(shape, DATA, predicted)
    for stage in STAGES:
        assert forecast.stages[stage].expected == pytest.approx(truth[stage], rel=0.15), stage
    assert forecast.seconds.low < forecast.seconds.expected < forecast.seconds.high


def test_more_references_take_longer_to_evaluate() -> None:
    known = model(CALIBRATED, SHAPE, "cpu: toy", None)
    few, many = (known.forecast(STOPPED, replace(DATA, references=count)) for count in (4, 16))
    assert many.stages["surrogate"].expected > few.stages["surrogate"].expected
    assert many.seconds.expected > few.seconds.expected


def test_a_finished_job_improves_the_estimate() -> None:
    """Stages ended earlier than anybody knew, on a machine that has become slower."""
    job = measured(SHAPE, Steps(40, 60, 90), source="job", slower=1.5)
    truth = sum(true_stages(SHAPE, DATA, Steps(40, 60, 90), 1.5).values())
    before = model(CALIBRATED, SHAPE, "cpu: toy", None).forecast(SHAPE, DATA).seconds.expected
    after = model([job, *CALIBRATED], SHAPE, "cpu: toy", None).forecast(SHAPE, DATA).seconds.expected
    assert abs(after / truth - 1) < abs(before / truth - 1)
    several = model([job] * 5 + CALIBRATED, SHAPE, "cpu: toy", None).forecast(SHAPE, DATA)
    assert several.seconds.expected == pytest.approx(truth, rel=0.1)
    assert "5 jobs and 2 calibration runs on cpu: toy" in several.basis


def test_a_job_that_is_told_not_to_stop_has_no_range_of_steps() -> None:
    known = model(CALIBRATED, SHAPE, "cpu: toy", None)
    train = known.forecast(STOPPED, DATA).stages["train"]
    assert train.high / train.expected == pytest.approx(train.expected / train.low)
    early = known.forecast(SHAPE, DATA).stages["train"]
    assert early.high / early.low > train.high / train.low


def test_memory_follows_the_batch_and_results_the_rank() -> None:
    known = model(CALIBRATED, SHAPE, "cpu: toy", None)
    small, large = (known.forecast(replace(STOPPED, batch_size=size), DATA).memory.expected for size in (6, 24))
    assert large == pytest.approx(500e6 + 10e6 * 96, rel=0.2)
    assert small < large
    low, high = (known.forecast(replace(STOPPED, rank=rank), DATA).bytes.expected for rank in (4, 64))
    assert (low, high) == (300_000 + (50_000 + COPIES * 20_000) * 4, 300_000 + (50_000 + COPIES * 20_000) * 64)


def test_nothing_measured_is_a_rule_of_thumb_that_says_so() -> None:
    forecast = model([], SHAPE, "cpu: toy", BackboneSize("images", "sd1", 15_000_000, 3_000_000, 16)).forecast(
        SHAPE, DATA
    )
    assert "albatross calibrate" in forecast.basis
    assert forecast.seconds.high >= 9 * forecast.seconds.low > 0


def test_what_was_measured_elsewhere_is_said_and_counts_less() -> None:
    here, there = (model(CALIBRATED, SHAPE, device, None).forecast(SHAPE, DATA) for device in ("cpu: toy", "cpu: x"))
    assert "not on the workers' cpu: x" in there.basis
    assert there.seconds.high > here.seconds.high


def test_a_job_of_which_a_stage_was_done_elsewhere_is_not_used() -> None:
    job = measured(SHAPE, Steps(40, 60, 90), source="job", slower=9)
    resumed = Measured(**{**vars(job), "work": {**job.work, "surrogate": {}}})
    assert model([resumed, *CALIBRATED], SHAPE, "cpu: toy", None).jobs == 0


def test_a_second_trial_is_evaluated_again() -> None:
    once, twice = (workload(SHAPE, DATA, Steps(8, trials, 20))["trial"] for trials in (200, 275))
    assert twice["step"].calls == 275
    assert once["evaluation"].calls < twice["evaluation"].calls < 2 * once["evaluation"].calls


def test_a_machine_that_had_other_work_may_be_faster_than_it_was() -> None:
    rows = []
    for row in CALIBRATED:
        work = {stage: told | {"cpu": told["seconds"] / 2} for stage, told in row.work.items()}
        rows.append(replace(row, work=work))
    busy, quiet = (model(known, SHAPE, "cpu: toy", None).forecast(SHAPE, DATA).seconds for known in (rows, CALIBRATED))
    assert (busy.expected, busy.high) == (quiet.expected, quiet.high)
    assert busy.low == pytest.approx(quiet.low / 2)


@pytest.mark.parametrize("rows", [[], CALIBRATED])
def test_a_published_kept_step_takes_what_loading_and_writing_files_take(rows: list[Measured]) -> None:
    estimator = Estimator(TEXT, rows, "cpu: toy")
    alone, whole = estimator.export_alone(SHAPE), estimator.forecast(SHAPE, DATA)
    assert alone.idle == frozenset(STAGES[:-1])
    assert [alone.stages[stage].expected for stage in STAGES[:-1]] == [0.0] * 5
    assert 0 < alone.seconds.expected < whole.stages["prepare"].expected + whole.stages["export"].expected

"""What protection adds to a job: frozen passes, samples that a backbone makes, and distributions that are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.backbones.memory_needs import DISTILLED_BYTES
from core.estimates.default_costs import BackboneSize
from core.estimates.forecast import model
from core.estimates.sizes import DataSize, JobSize, Steps
from core.estimates.workload import distilled, workload
from core.parameters.schedule import FROZEN_PASS, GENERATED, OWN_SAMPLES, PROBE_EXAMPLES
from core.settings import OWN_SECONDS
from tests.core.estimates.measured import DATA, OTHER, SHAPE, SMALL, measured
from tests.core.parameters.test_resolving import CATS, CHATS, EMOJI, TEXT, settled

STEPS = Steps(8, 10, 20)
DISTILLED = replace(SHAPE, protect="distil")
OWN = replace(DISTILLED, protect_on="own", scored=False, tested=False)
BARE = DataSize(references=6)


def test_what_is_held_to_the_frozen_network_takes_one_pass_more_and_the_rest_does_not() -> None:
    plain = workload(SHAPE, DATA, STEPS)
    for means in ("distil", "both"):
        held = workload(replace(SHAPE, protect=means), DATA, STEPS)
        for stage in ("trial", "train"):
            ratio = held[stage]["step"].size / plain[stage]["step"].size
            assert ratio == pytest.approx(1 + FROZEN_PASS * SHAPE.share)
        assert held["surrogate"] == plain["surrogate"]
        assert held["score"] == plain["score"]


def test_a_trial_also_looks_at_how_far_both_stacks_leave_what_was_known() -> None:
    with_probe, without = workload(SHAPE, DATA, STEPS)["trial"], workload(SHAPE, replace(DATA, probe=0), STEPS)["trial"]
    units = [work["evaluation"].calls * work["evaluation"].size for work in (with_probe, without)]
    assert units[0] - units[1] == pytest.approx(2 * SHAPE.folds * PROBE_EXAMPLES * SHAPE.draws_eval)


def test_on_own_samples_nothing_is_scored_and_no_pool_is_needed() -> None:
    work = workload(OWN, BARE, STEPS, samples_made=False)
    assert work["score"] == {}
    assert "gradient" not in work["export"]
    assert work["trial"]["step"].size > workload(SHAPE, DATA, STEPS)["trial"]["step"].size
    drawn = work["prepare"]["sample"]
    assert drawn.calls * drawn.size == OWN_SAMPLES
    assert "sample" not in workload(OWN, BARE, STEPS)["prepare"]
    assert "sample" not in workload(DISTILLED, DATA, STEPS, samples_made=False)["prepare"]


def test_samples_are_counted_until_somebody_has_had_them_made_and_never_beyond_their_limit() -> None:
    jobs = [measured(SMALL, Steps(12, 24, 16)), measured(OTHER, Steps(12, 24, 16))]
    own = replace(SMALL, protect="distil", protect_on="own", scored=False)
    unmade = model(jobs, SHAPE, "cpu: toy", None).forecast(own, BARE).stages["prepare"]
    known = model([*jobs, measured(own, Steps(12, 24, 16), data=BARE)], SHAPE, "cpu: toy", None)
    made = known.forecast(own, BARE).stages["prepare"]
    assert unmade.expected - made.expected == pytest.approx(0.3 * OWN_SAMPLES, rel=0.1)
    slow = [measured(SMALL, Steps(12, 24, 16), slower=1000.0), measured(OTHER, Steps(12, 24, 16), slower=1000.0)]
    for jobs in (slow, []):
        found = model(jobs, SHAPE, "cpu: toy", BackboneSize("images", "sd1", 10**10, 2 * 10**9, 128))
        much, little = found.forecast(own, BARE).stages["prepare"], found.forecast(SMALL, BARE).stages["prepare"]
        assert 0 < much.expected - little.expected <= OWN_SECONDS


def test_a_pool_that_is_made_is_drawn_scored_and_watched_and_once_it_is_there_no_more_drawn() -> None:
    steps = Steps(12, 24, 16)
    made = replace(SMALL, generates=True)
    jobs = [measured(SMALL, steps), measured(OTHER, steps)]
    before = model(jobs, SHAPE, "cpu: toy", None)
    known = model([*jobs, measured(made, steps)], SHAPE, "cpu: toy", None)
    assert (before.has_made(made), known.has_made(made)) == (False, True)
    assert not known.has_made(replace(SMALL, protect_on="own"))  # its samples are others
    unmade, there = (each.forecast(made, BARE).stages for each in (before, known))
    assert unmade["prepare"].expected - there["prepare"].expected == pytest.approx(0.3 * GENERATED, rel=0.1)
    held = GENERATED // 4
    pool = replace(BARE, candidates=GENERATED - held, probe=held)
    assert there["score"] == known.forecast(SMALL, pool).stages["score"]
    assert there["score"].expected > 0
    with_probe = replace(DATA, candidates=GENERATED)
    assert known.forecast(made, DATA).stages["score"] == known.forecast(SMALL, with_probe).stages["score"]


def test_samples_of_another_size_are_yet_to_be_made() -> None:
    steps = Steps(12, 24, 16)
    own = replace(SMALL, protect="distil", protect_on="own", scored=False)
    known = model([measured(own, steps, data=BARE), measured(OTHER, steps)], SHAPE, "cpu: toy", None)
    larger = replace(own, resolution=2 * (own.resolution or 0))
    assert (known.has_made(own), known.has_made(larger)) == (True, False)
    found = [known.forecast(larger, BARE, made=made).stages["prepare"].expected for made in (False, True)]
    assert found[0] > found[1]


def test_a_quarter_of_own_samples_is_looked_at_as_a_probe_where_the_pool_has_none() -> None:
    steps = Steps(12, 24, 16)
    own = replace(SMALL, protect="distil", protect_on="own", scored=False)
    known = model([measured(own, steps, data=BARE), measured(OTHER, steps)], SHAPE, "cpu: toy", None)
    with_probe = replace(BARE, probe=OWN_SAMPLES // 4)
    assert known.forecast(own, BARE) == known.forecast(own, with_probe)
    assert known.forecast(own, BARE) != known.forecast(own, replace(BARE, probe=1))


def test_the_time_in_which_samples_were_made_is_no_part_of_what_the_next_job_takes() -> None:
    row = measured(SMALL, Steps(12, 24, 16), data=BARE)
    row.work["prepare"]["facts"]["making_seconds"] = 600.0
    assert replace(row, total=row.total + 600.0).seconds == pytest.approx(
        measured(SMALL, Steps(12, 24, 16), data=BARE).seconds
    )


def test_the_frozen_pass_of_measured_jobs_is_not_taken_for_the_price_of_a_step() -> None:
    steps, known = Steps(12, 24, 16), [SMALL, OTHER]
    plain = model([measured(shape, steps) for shape in known], SHAPE, "cpu: toy", None)
    held = model([measured(replace(shape, protect="distil"), steps) for shape in known], SHAPE, "cpu: toy", None)
    found = [each.forecast(SMALL, DATA).seconds.expected for each in (plain, held)]
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_texts_that_are_held_to_the_frozen_words_keep_both_distributions() -> None:
    words = 50_000
    usual, held = (
        JobSize.of(settled({"protect": means, "score": "random"}, backbone=TEXT, summary=CHATS))
        for means in ("replay", "distil")
    )
    found = model([], usual, "cpu", None)
    low, high = (found.forecast(shape, DATA, words).memory.expected for shape in (usual, held))
    step, units = distilled(held, workload(held, DATA, STEPS))
    assert units == pytest.approx(step.size * held.share)
    assert high - found.forecast(held, DATA).memory.expected <= units * words * DISTILLED_BYTES
    assert high > low
    pictures = replace(SHAPE, protect="distil")
    assert found.forecast(pictures, DATA).memory == found.forecast(SHAPE, DATA).memory


def test_a_job_without_a_pool_is_foretold_with_what_protects_it() -> None:
    p = settled(backbone=EMOJI.model_copy(update={"pool": None}), summary=CATS)
    shape = JobSize.of(p)
    assert (shape.protect, shape.protect_on, shape.makes, shape.scored, shape.tested) == (
        *("distil", "own", True),
        *(False, False),
    )
    assert shape.protects(0)
    assert not replace(shape, protect_on="pool").protects(0)


def test_what_was_measured_before_there_was_protection_is_read_as_it_was() -> None:
    row = measured(SMALL, Steps(12, 24, 16))
    old = {name: value for name, value in vars(row.shape).items() if not name.startswith("protect")}
    assert JobSize(**old) == row.shape

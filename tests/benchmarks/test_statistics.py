"""Paired differences, intervals that resample whole experiments, and what a stop gave away."""

import random

import pytest

from benchmarks.statistics import estimate, excess, paired


def record(arm: str, rule: str = "auto", seed: int = 0, **values: float) -> dict:
    usual = {"family": "nano", "set": "near", "n": 8, "learning_rate": 1e-3, "pool": "related"}
    losses = {"heldout_start": 2.0, "heldout_best": 1.0, "heldout_at_stop": 1.0}
    return usual | losses | {"arm": arm, "rule": rule, "seed": seed} | values


def test_a_difference_is_taken_within_each_experiment() -> None:
    rows = [
        record(arm, seed=seed, forgetting=seed + shift) for seed in range(8) for arm, shift in (("a", 0.5), ("b", 0))
    ]
    found = paired(rows, ("a", "auto"), ("b", "auto"), lambda row: row["forgetting"])
    assert (found.mean, found.low, found.high, found.count) == (0.5, 0.5, 0.5, 8)
    assert found.clear
    assert found.text(1, 2) == "+0.50 [+0.50, +0.50]"
    assert paired(rows, ("a", "auto"), ("c", "auto"), lambda row: row["forgetting"]) is None


def test_experiments_on_the_same_references_count_as_one() -> None:
    generator = random.Random(0)
    luck = [generator.gauss(0, 1) for _ in range(10)]
    apart = estimate([((seed, copy), luck[seed]) for seed in range(10) for copy in range(20)])
    together = estimate([(seed, luck[seed]) for seed in range(10) for copy in range(20)])
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_noise_around_zero_is_not_called_clear() -> None:
    generator = random.Random(1)
    calls = sum(estimate([(i, generator.gauss(0, 1)) for i in range(30)], seed=k).clear for k in range(40))
    assert calls <= 6


def test_excess_is_the_share_of_the_improvement_that_the_stop_gave_away() -> None:
    rows = [record("none", heldout_at_stop=value) for value in (1.0, 1.5, 2.0, 9.0)]
    assert [value for _, value in excess(rows)] == pytest.approx([0, 0.5, 1, 2])


def test_a_run_with_nothing_to_gain_does_not_decide_a_mean() -> None:
    rows = [record("none"), record("none", seed=1, heldout_best=1.999, heldout_at_stop=2.1)]
    assert excess(rows)[1][1] == pytest.approx(0.101 / (0.5 * 0.5005))


def test_a_run_on_three_quarters_of_the_references_is_held_against_the_whole() -> None:
    rows = [record("none"), record("quarter", heldout_best=1.2, heldout_at_stop=1.2)]
    assert excess(rows)[1][1] == pytest.approx(0.2)

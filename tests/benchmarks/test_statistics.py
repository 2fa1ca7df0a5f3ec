"""Paired differences, intervals of Student's t over clusters, and what a stop gave away."""

import random

import pytest

from benchmarks.statistics import Estimate, cluster, estimate, excess, paired, ratio, t_quantile


def record(arm: str, rule: str = "auto", seed: int = 0, **values: float) -> dict:
    usual = {"family": "nano", "set": "near", "n": 8, "learning_rate": 1e-3, "pool": "related"}
    losses = {"heldout_start": 2.0, "heldout_best": 1.0, "heldout_at_stop": 1.0}
    return usual | losses | {"arm": arm, "rule": rule, "seed": seed} | values


# from the printed tables of Student's t
@pytest.mark.parametrize(("freedom", "value"), [(2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)])
def test_the_quantile_is_that_of_the_tables(freedom: int, value: float) -> None:
    assert t_quantile(freedom) == pytest.approx(value, abs=5e-4)
    assert t_quantile(10, 0.9) == pytest.approx(1.812, abs=5e-4)


def test_the_interval_is_the_one_that_is_reckoned_by_hand() -> None:
    # 1, 2, 3, 4, 5: mean 3, standard deviation 1.5811, t of four degrees of freedom 2.7764, half width 1.9632
    found = estimate([(key, key) for key in (1, 2, 3, 4, 5)])
    assert (found.mean, found.clusters, found.count) == (3, 5, 5)
    assert (found.low, found.high) == pytest.approx((1.0368, 4.9632), abs=1e-4)
    assert found.clear


def test_a_difference_is_taken_within_each_experiment() -> None:
    rows = [
        record(arm, seed=seed, forgetting=seed + shift) for seed in range(8) for arm, shift in (("a", 0.5), ("b", 0))
    ]
    found = paired(rows, ("a", "auto"), ("b", "auto"), lambda row: row["forgetting"])
    assert found == Estimate(0.5, 0.5, 0.5, 8, 8)
    assert found.clear
    assert found.text(1, 2) == "+0.50 [+0.50, +0.50]"
    assert paired(rows, ("a", "auto"), ("c", "auto"), lambda row: row["forgetting"]) is None


def test_experiments_on_the_same_references_count_as_one() -> None:
    once = estimate([("a", 1.0), ("b", 2.0), ("c", 3.0)])
    often = estimate([("a", 1.0), *[("b", 2.0)] * 20, ("c", 2.0), ("c", 4.0)])
    assert (often.mean, often.low, often.high, often.clusters) == (once.mean, once.low, once.high, 3)
    assert often.count == 23


def test_fewer_than_three_clusters_have_a_mean_and_no_interval() -> None:
    found = estimate([("a", 1.0), ("b", 3.0), ("b", 3.0)])
    assert (found.mean, found.low, found.high, found.clusters) == (2, None, None, 2)
    assert not found.clear
    assert found.text(1) == "+2.0"


def test_intervals_of_few_clusters_hold_the_truth_as_often_as_they_say() -> None:
    generator = random.Random(1)
    calls = sum(estimate([(i, generator.gauss(0, 1)) for i in range(4)]).clear for _ in range(2000))
    assert 70 <= calls <= 130


def test_a_ratio_is_of_means_and_says_nothing_of_what_is_not_above_zero() -> None:
    # residuals first - .5 second: .1, -.1, 0 over 2: standard deviation .05, times 4.3027 / sqrt(3)
    found = ratio([("a", 0.6, 1.0), ("b", 0.9, 2.0), ("c", 1.5, 3.0)])
    assert found is not None
    assert (found.mean, found.low, found.high) == pytest.approx((0.5, 0.3758, 0.6242), abs=1e-4)
    assert found.clear
    assert ratio([("a", 1.0, 0.5), ("b", 1.0, -0.6)]) is None
    assert ratio([("a", 1.0, 0.5), ("b", 1.0, -0.4), ("c", 1.0, 0.1)]) is None  # 15, with hundreds to each side
    level = ratio([("a", 1.1, 1.0), ("b", 0.9, 1.0), ("c", 1.0, 1.0)])
    assert level is not None
    assert not level.clear


def test_what_shares_texts_or_pictures_is_one_cluster() -> None:
    assert cluster(record("a", seed=1)) == cluster(record("a", seed=1) | {"set": "foreign", "n": 4})
    assert cluster(record("a", seed=1)) != cluster(record("a", seed=2))
    cat = record("a") | {"family": "emoji", "set": "cat"}
    assert cluster(cat) == cluster(cat | {"seed": 2, "learning_rate": 1e-4}) != cluster(cat | {"set": "bus"})


def test_excess_is_the_share_of_the_improvement_that_the_stop_gave_away() -> None:
    rows = [record("none", heldout_at_stop=value) for value in (1.0, 1.5, 2.0, 9.0)]
    assert [value for _, value in excess(rows)] == pytest.approx([0, 0.5, 1, 2])


def test_a_run_with_nothing_to_gain_does_not_decide_a_mean() -> None:
    rows = [record("none"), record("none", seed=1, heldout_best=1.999, heldout_at_stop=2.1)]
    assert excess(rows)[1][1] == pytest.approx(0.101 / (0.5 * 0.5005))


def test_a_run_on_three_quarters_of_the_references_is_held_against_the_whole() -> None:
    rows = [record("none"), record("quarter", heldout_best=1.2, heldout_at_stop=1.2)]
    assert excess(rows)[1][1] == pytest.approx(0.2)

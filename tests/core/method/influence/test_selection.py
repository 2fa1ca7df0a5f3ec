"""Selection by score, by threshold and by chance, and the measure of how far scores can be trusted."""

import pytest
import torch

from core.method.influence.selection import near_duplicates_by_cosine, select


def test_the_best_are_kept_best_first() -> None:
    chosen = select(torch.tensor([0.1, 0.9, -0.3, 0.5]), count=2)
    assert chosen.indices == (1, 3)
    assert chosen.eta == pytest.approx(0.5)
    assert "2 of 4" in chosen.reason


def test_a_threshold_keeps_what_scores_above_it_and_a_count_caps_it() -> None:
    ranking = torch.tensor([0.1, 0.9, -0.3, 0.5])
    assert select(ranking, eta=0.0).indices == (1, 3, 0)
    assert select(ranking, eta=0.0, count=1).indices == (1,)
    assert select(ranking, eta=2.0).indices == ()


def test_a_rule_must_be_given() -> None:
    with pytest.raises(ValueError, match="count or a threshold"):
        select(torch.zeros(3))


def test_a_candidate_without_a_finite_score_is_never_kept() -> None:
    assert select(torch.tensor([float("nan"), 0.2, float("inf"), 0.1]), count=4).indices == (1, 3)


def test_only_the_best_of_a_group_of_near_duplicates_is_kept() -> None:
    chosen = select(torch.tensor([0.9, 0.8, 0.7]), count=2, duplicates=["cat", "cat", "dog"])
    assert chosen.indices == (0, 2)
    assert chosen.duplicates == 1


def test_half_the_places_are_shared_out_over_the_sources() -> None:
    ranking = torch.tensor([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    sources = ["a"] * 8 + ["b"] * 2
    assert select(ranking, count=4, sources=sources).indices == (0, 1, 2, 8)
    assert select(ranking, count=4).indices == (0, 1, 2, 3)


def test_an_unreliable_ranking_is_replaced_by_a_spread_of_chance() -> None:
    ranking = torch.arange(40.0)
    sources = ["rare"] * 4 + ["common"] * 36
    chosen = select(ranking, count=8, sources=sources, reliability=0.05, seed=3)
    assert chosen.rule == "random"
    assert chosen.eta is None
    assert sum(sources[i] == "rare" for i in chosen.indices) == 4
    assert "0.05" in chosen.reason
    assert "at random" in chosen.reason
    assert chosen.indices == select(ranking, count=8, sources=sources, reliability=0.05, seed=3).indices
    assert chosen.indices != select(ranking, count=8, sources=sources, reliability=0.05, seed=4).indices


def test_a_reliable_ranking_chooses_and_says_so() -> None:
    chosen = select(torch.arange(9.0), count=3, reliability=0.6)
    assert chosen.rule == "top"
    assert chosen.indices == (8, 7, 6)
    assert "0.60" in chosen.reason


def test_near_duplicates_are_found_across_a_chain() -> None:
    angles = torch.tensor([0.0, 0.15, 0.3, 2.0])
    groups = near_duplicates_by_cosine(torch.stack([angles.cos(), angles.sin()], 1))
    assert groups[0] == groups[1] == groups[2] != groups[3]

"""Selection by score, by threshold and by chance, and the measure of how far scores can be trusted."""

import pytest
import torch

from core.method.influence.selection import DRAWN, near_duplicates_by_cosine, select, select_at_random


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


def test_a_selection_says_what_decided() -> None:
    ranking, sources = torch.arange(12.0), ["a"] * 8 + ["b"] * 4
    assert select(ranking, count=8, sources=sources).reason == (
        "8 of 12 candidates were kept, by their scores: 2 places for every source, as far as it fills them, the others "
        "for whichever come first; near-duplicates count once."
    )
    assert ": 1 place for every source, as far as it fills them" in select(ranking, count=4, sources=sources).reason
    assert "for every source" not in select(ranking, count=4).reason
    scarce = select(ranking, count=3, sources=range(12)).reason  # more sources than half of the places
    assert scarce == "3 of 12 candidates were kept, by their scores: whichever come first; near-duplicates count once."
    assert "kept, all that could be ranked;" in select(ranking, count=12).reason
    assert "kept, all that could be ranked;" in select(ranking, count=40, duplicates=[0] * 12).reason
    assert "kept, all with a score above 4;" in select(ranking, eta=4.0).reason
    assert "by their scores, of those above 4: " in select(ranking, eta=4.0, count=2).reason
    assert "kept, by a draw, as was asked: " in select(ranking, count=2, words=DRAWN).reason


def test_a_draw_is_even_over_the_sources_and_takes_nothing_without_a_finite_value() -> None:
    usable = torch.zeros(20)
    usable[3] = torch.nan
    sources = [str(number % 4) for number in range(20)]
    drawn = select_at_random(
        usable, count=8, sources=sources, duplicates=range(20), reliability=None, seed=1, why="Because"
    )
    assert sorted(sources[i] for i in drawn.indices) == sorted(["0", "1", "2", "3"] * 2)
    assert 3 not in drawn.indices
    assert drawn.reason == "Because: 8 candidates were drawn at random, evenly over the sources, instead."


def test_near_duplicates_are_found_across_a_chain() -> None:
    angles = torch.tensor([0.0, 0.15, 0.3, 2.0])
    groups = near_duplicates_by_cosine(torch.stack([angles.cos(), angles.sin()], 1))
    assert groups[0] == groups[1] == groups[2] != groups[3]

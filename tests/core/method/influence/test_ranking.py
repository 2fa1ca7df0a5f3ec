"""Scores that lean on their sources: what repeats is believed, what does not is shrunk."""

import pytest
import torch

from core.method.influence.ranking import rank

FOLDS, CANDIDATES = 4, 240
SOURCES = [number // 20 for number in range(CANDIDATES)]


def scores(of_sources: float, of_candidates: float, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (F, 1, c) of a random-effects model with these spreads, and the truth behind them."""
    generator = torch.Generator().manual_seed(seed)
    source = of_sources * torch.randn(CANDIDATES // 20, generator=generator).repeat_interleave(20)
    own = of_candidates * torch.randn(CANDIDATES, generator=generator)
    errors = noise * torch.randn(FOLDS, 1, CANDIDATES, generator=generator)
    return source + own + errors, source + own


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()


def test_reliability_is_what_two_halves_of_the_folds_share() -> None:
    """Two halves of two folds each are signal + noise / sqrt 2: they correlate by 1 / (1 + 1/2)."""
    found, _ = scores(0.0, 1.0, 1.0)
    assert rank(found).reliability == pytest.approx(2 / 3, abs=0.06)
    assert abs(rank(scores(0.0, 0.0, 1.0)[0]).reliability) < 0.15


def test_where_only_sources_repeat_their_means_rank_far_better_than_single_scores() -> None:
    found, truth = scores(1.0, 0.0, 6.0)
    ranking = rank(found, SOURCES)
    assert ranking.by_source > 0.4 > 0.15 > abs(ranking.by_candidate)
    assert correlation(ranking.values, truth) > 0.7 > correlation(found.mean((0, 1)), truth) + 0.2


def test_where_candidates_repeat_within_their_sources_they_keep_their_own_score() -> None:
    found, truth = scores(0.0, 1.0, 0.5)
    ranking = rank(found, SOURCES)
    assert ranking.by_candidate > 0.8
    assert correlation(ranking.values, truth) > 0.95


def test_few_sources_are_not_trusted_to_tell_which_of_them_repeat() -> None:
    found, _ = scores(1.0, 0.0, 1.0)
    ranking = rank(found, [number % 3 for number in range(CANDIDATES)])
    assert ranking.by_source is None
    assert torch.allclose(ranking.values, rank(found).values)


def test_a_candidate_that_was_not_scored_is_predicted_from_its_source() -> None:
    found, truth = scores(2.0, 0.0, 1.0)
    found[:, :, ::2] = torch.nan
    values = rank(found, SOURCES).values
    assert values.isfinite().all()
    assert correlation(values[::2], truth[::2]) > 0.9
    found[:, :, :20] = torch.nan
    assert rank(found, SOURCES).values[:20].isnan().all()


def test_scores_that_do_not_repeat_at_all_have_no_reliability() -> None:
    opposed = torch.randn(1, 1, CANDIDATES, generator=torch.Generator().manual_seed(0))
    ranking = rank(torch.cat([opposed, -opposed]), SOURCES)
    assert ranking.reliability == 0.0
    assert ranking.values.isfinite().all()


def test_no_fold_outvotes_the_others_by_its_scale() -> None:
    found, truth = scores(0.0, 1.0, 0.7)
    loud = found.clone()
    loud[0] = 100 * torch.randn(1, CANDIDATES, generator=torch.Generator().manual_seed(5))
    assert correlation(rank(loud).values, truth) > 0.7 > correlation(loud.mean((0, 1)), truth)


def test_draws_of_one_fold_do_not_pass_for_agreement_between_folds() -> None:
    folds = torch.randn(2, 1, 300, generator=torch.Generator().manual_seed(0)).expand(2, 6, 300)
    assert abs(rank(folds).reliability) < 0.15
    assert rank(folds[:1]).reliability == pytest.approx(1.0)


def test_one_draw_of_one_fold_ranks_but_says_nothing_of_itself() -> None:
    ranking = rank(torch.arange(5.0).view(1, 1, 5))
    assert ranking.reliability is None
    assert ranking.values.tolist() == [0, 1, 2, 3, 4]

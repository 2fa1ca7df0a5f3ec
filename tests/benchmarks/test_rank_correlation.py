"""The rank correlation against scipy's."""

import pytest
import torch

from benchmarks.rank_correlation import spearman


def test_spearman_shares_ranks_between_ties() -> None:
    """scipy.stats.spearmanr([1, 2, 2, 3], [1, 3, 2, 4]) = 0.9487."""
    value = spearman(torch.tensor([1.0, 2, 2, 3]), torch.tensor([1.0, 3, 2, 4]))
    assert value == pytest.approx(0.9486833, abs=1e-6)
    assert spearman(torch.ones(4), torch.arange(4.0)) == 0.0

"""What each surrogate is tried with."""

from __future__ import annotations

import pytest
import torch

from core.method.influence.choice import Choice
from tests.core.method.test_albat import parameters

SOURCES = ["a"] * 6


@pytest.mark.parametrize(("gamma", "blind"), [("auto", {(3,), (1,)}), (0.5, {(1,)})])
def test_a_selection_for_each_surrogate_is_there_only_where_a_share_is_tried(
    gamma: float | str, blind: set[tuple[int, ...]]
) -> None:
    p = parameters("texts", gamma=gamma, selected_count=1)
    choice = Choice(torch.arange(6), 6, SOURCES, range(6), torch.ones(6, dtype=torch.bool), p)
    scores = torch.tensor([[0.0, 9.0, 0.0, 1.0, 0.0, 0.0], [0.0, 3.0, 0.0, 4.0, 0.0, 0.0]]).unsqueeze(1)
    selection = choice.selection(choice.ranking(choice.matrix(scores)))
    assert selection.indices == (1,)
    assert set(choice.blind(choice.matrix(scores), selection, 2)) == blind

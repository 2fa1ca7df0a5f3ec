"""From the scores of candidates to a selection, and to one for each surrogate that its own references had no part in.

Shapes: F folds (one surrogate each), K draws, c candidates.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.method.influence.ranking import Ranking, rank
from core.method.influence.selection import DRAWN, POOLED, SCORED, Selection, select, select_at_random
from core.parameters.parameters import Parameters


@dataclass(frozen=True)
class Choice:
    """Hold which candidates were scored, and all but the scores that a selection goes by."""

    scored: Tensor  # their indices
    sampled: int  # how many were to be scored: more, where the first of them showed that nothing repeats
    sources: Sequence[str]
    duplicates: Sequence[Hashable]  # a group for every candidate
    usable: Tensor  # (c,), false of those that may not be selected
    p: Parameters

    @property
    def whole(self) -> bool:
        """Whether all were scored that were to be."""
        return len(self.scored) == self.sampled

    def matrix(self, found: Tensor) -> Tensor:
        """Return the scores that were found, with NaN for every other candidate: (F, K, c)."""
        scores = torch.full((*found.shape[:2], len(self.sources)), math.nan)
        scores[:, :, self.scored] = found
        return scores

    def ranking(self, matrix: Tensor) -> Ranking:
        """Return what the selection goes by."""
        ranking = rank(matrix, self.sources)
        if self.whole:
            return ranking
        # the weights behind `reliability` are fitted to what is noise, and flatter it
        return replace(ranking, values=matrix.mean((0, 1)), reliability=ranking.by_candidate)

    def selection(self, ranking: Ranking) -> Selection:
        """Select by the scores; where the rest of the sample was not worth scoring, draw from what is usable."""
        return self._best(ranking) if self.whole else self._drawn(ranking)

    def blind(self, matrix: Tensor, selection: Selection, folds: int) -> tuple[tuple[int, ...], ...]:
        """Return a selection for every surrogate that its own held-out references had no part in.

        A fold's scores are aimed at the references that it holds out. Judged by the same ones, what they select looks
        better than it is to unseen data (`benchmarks/trial_bias.py`). A draw, and folds that were not scored, flatter
        nobody; a share that was asked for is not tried.
        """
        scored = len(matrix)
        if selection.rule == "random" or scored < 2 or self.p.gamma != "auto":
            return (selection.indices,) * folds
        others = [
            self.selection(rank(torch.cat([matrix[:fold], matrix[fold + 1 :]]), self.sources)) for fold in range(scored)
        ]
        return tuple((others[fold] if fold < scored else selection).indices for fold in range(folds))

    def _best(self, ranking: Ranking) -> Selection:
        pooled = SCORED if ranking.by_source is None else POOLED
        return select(
            ranking.values.where(self.usable, math.nan),
            count=self.p.selected_count,
            sources=self.sources,
            duplicates=self.duplicates,
            reliability=ranking.reliability,
            seed=self.p.seed,
            words=DRAWN if self.p.score == "random" else pooled,
        )

    def _drawn(self, ranking: Ranking) -> Selection:
        drawn_from = torch.where(self.usable, 0.0, math.nan)
        # what has no finite score is not replayed either
        drawn_from[self.scored] = ranking.values[self.scored].to(drawn_from)
        halves = f"Two halves of the scores of {len(self.scored)} candidates {ranking.doubt}"
        return select_at_random(
            drawn_from,
            count=self.p.selected_count,
            sources=self.sources,
            duplicates=self.duplicates,
            reliability=ranking.reliability,
            seed=self.p.seed,
            why=f"{halves}, so the other {self.sampled - len(self.scored)} were not scored",
        )

"""From surrogates to the replayed candidates: cross-fitted scores, their reliability, and the selection.

Shapes: F folds (one surrogate each), K draws, c candidates.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, count, take, units
from core.method.backbones.lora import Adapter
from core.method.influence.folds import ScoringFolds
from core.method.influence.gradients import chunks
from core.method.influence.ranking import Ranking, rank
from core.method.influence.selection import Selection, near_duplicates_by_cosine, select
from core.method.mixing.gamma import GammaChoice, choose_gamma
from core.method.training.resuming import NOWHERE, Keeper, State, saved
from core.parameters.parameters import Parameters
from core.parameters.schedule import CANDIDATES_AT_ONCE


@dataclass(frozen=True)
class ScoringProgress:
    """Count the candidates scored so far, once for every fold: `done` of `total`."""

    done: int
    total: int


@dataclass(frozen=True)
class Scoring:
    """Hold what scoring found; candidates that were not sampled from the pool have a score of NaN."""

    scores: Tensor  # (c,), positive = beneficial
    per_fold: Tensor  # (F, c)
    ranking: Ranking  # what the selection went by, and how far two halves of the evidence agree on it
    selection: Selection
    gamma: GammaChoice
    notes: tuple[str, ...]  # what must be told beside the scores


def score_pool(
    backbone: Backbone,
    surrogates: Adapter,
    held: Sequence[Sequence[int]],
    references: Batch,
    candidates: Batch,
    p: Parameters,
    sources: Sequence[str],
    keeper: Keeper = NOWHERE,
) -> Generator[ScoringProgress, None, Scoring]:
    """Score a sample of the pool with every surrogate, select, and choose the gamma to begin with.

    Draws are spread over the folds, so that K folds cost no more than one; every fold's target gradient comes from the
    references its surrogate has not seen.
    """
    folds = ScoringFolds.of(backbone, surrogates, held, references)
    sampled = _sample(count(candidates), p.sample_ratio, p.seed)
    if p.score == "random":
        found = torch.rand(1, 1, len(sampled), generator=torch.Generator().manual_seed(p.seed))
    else:
        found = yield from _score(folds, take(candidates, sampled), p, keeper)
    matrix = torch.full((*found.shape[:2], count(candidates)), math.nan)
    matrix[:, :, sampled] = found
    ranking = rank(matrix, sources)
    selection = select(
        ranking.values,
        count=p.selected_count,
        sources=sources,
        duplicates=_copies(candidates),
        reliability=ranking.reliability,
        seed=p.seed,
    )
    gamma = choose_gamma(
        p.gamma,
        comparable=folds.comparable(selection.indices),
        n=count(references),
        m=len(selection.indices),
        preset=p.preset,
        start=p.gamma_start,
    )
    return Scoring(matrix.mean((0, 1)), matrix.mean(1), ranking, selection, gamma, tuple(folds.notes))


def _score(
    folds: ScoringFolds, candidates: Batch, p: Parameters, keeper: Keeper
) -> Generator[ScoringProgress, None, Tensor]:
    """Return the scores (F, K, c), every fold with its own share of the draws; found ones are not computed again."""
    parts: list[list[Tensor]] = [[] for _ in folds.held]
    if (found := keeper.found()) is not None:
        folds.notes[:] = found.values["notes"]
        for fold, scores in found.tensors.items():
            parts[int(fold)].append(scores)

    def state() -> State:
        return State({"notes": folds.notes}, {str(fold): torch.cat(part, 1) for fold, part in enumerate(parts) if part})

    yield from saved(_missing(folds, candidates, p, parts), keeper, state)
    return torch.stack([torch.cat(part, dim=1) for part in parts])


def _missing(
    folds: ScoringFolds, candidates: Batch, p: Parameters, parts: Sequence[list[Tensor]]
) -> Iterator[ScoringProgress]:
    """Add to every fold's part, (K, c) in pieces, the scores that it does not hold yet."""
    amount = count(candidates)
    for fold, part in enumerate(parts):
        known = sum(scores.shape[1] for scores in part)
        if known == amount:
            continue
        ready = folds.scorer(fold, p)
        for index in chunks(amount, CANDIDATES_AT_ONCE):
            if index[0] < known:
                continue
            some, noise = take(candidates, index), folds.noise(fold, len(index), p)
            with folds.heard(), folds.backbone.profiler.timed("score", units(some) * len(noise), len(noise)):
                part.append(ready.score(some, noise))
            yield ScoringProgress(fold * amount + int(index[-1]) + 1, amount * len(parts))


def _sample(amount: int, ratio: float, seed: int) -> Tensor:
    """Return the sorted indices of a random share of the pool, at least one."""
    order = torch.randperm(amount, generator=torch.Generator().manual_seed(seed))
    return order[: max(1, math.ceil(ratio * amount))].sort().values


def _copies(candidates: Batch) -> Sequence[object]:
    """Return a group for every candidate: near-duplicate pictures share one, and so do equal texts."""
    if "mean" in candidates:
        return near_duplicates_by_cosine(candidates["mean"])
    return [tuple(ids) for ids in candidates["input_ids"].tolist()]

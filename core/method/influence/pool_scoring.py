"""From surrogates to the replayed candidates: cross-fitted scores, their reliability, and the selection.

Shapes: F folds (one surrogate each), K draws, c candidates.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, by_length, count, take, units
from core.method.influence.choice import Choice
from core.method.influence.folds import ScoringFolds
from core.method.influence.gradients import chunks
from core.method.influence.ranking import Ranking, rank
from core.method.influence.selection import Selection, near_duplicates_by_cosine
from core.method.lora.adapter import Adapter
from core.method.mixing.gamma import GammaChoice, choose_gamma
from core.method.training.resuming import NOWHERE, Keeper, State, saved
from core.parameters.parameters import Parameters
from core.parameters.schedule import first_part


@dataclass(frozen=True)
class ScoringProgress:
    """Count the candidates scored so far, once for every fold: `done` of `total`."""

    done: int
    total: int  # what is left to score may turn out not to be: then it falls


@dataclass(frozen=True)
class Scoring:
    """Hold what scoring found; candidates that were not sampled from the pool have a score of NaN."""

    sampled: int  # candidates that were to be scored
    scored: int  # and those that were: fewer where the first of them showed that nothing repeats
    scores: Tensor  # (c,), positive = beneficial
    per_fold: Tensor  # (F, c)
    ranking: Ranking  # what the selection went by, and how far two halves of the evidence agree on it
    selection: Selection
    blind: tuple[tuple[int, ...], ...]  # what each surrogate is tried with, selected without those it holds out
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
    left_out: Collection[int] = (),
) -> Generator[ScoringProgress, None, Scoring]:
    """Score a sample of the pool with every surrogate, select, and choose the gamma to begin with.

    Candidates that are `left_out`, being references themselves, are neither scored nor selected.

    Where nobody asked for a share of the pool, a first tenth of the sample is scored before the rest. Where its two
    halves agree no better than chance, the rest is not scored, and a draw replaces the selection (our own rule).
    Draws are spread over the folds, so that K folds cost no more than one; every fold's target gradient comes from the
    references its surrogate has not seen.
    """
    folds = ScoringFolds.of(backbone, surrogates, held, references)
    sampled, first = _sample(candidates, p, left_out)
    if p.score == "random":
        found = torch.rand(1, 1, len(sampled), generator=torch.Generator().manual_seed(p.seed))
    else:
        chosen = [sources[i] for i in sampled.tolist()]
        found = yield from _score(folds, take(candidates, sampled), chosen, first, p, keeper)
    usable = torch.ones(count(candidates), dtype=torch.bool).index_fill(0, _indices(left_out), False)
    choice = Choice(sampled[: found.shape[2]], len(sampled), sources, _copies(candidates), usable, p)
    return _decided(folds, choice, choice.matrix(found), len(held))


def _decided(folds: ScoringFolds, choice: Choice, matrix: Tensor, surrogates: int) -> Scoring:
    """Select by the scores (F, K, c) that were found, and choose the gamma to begin with."""
    ranking, p = choice.ranking(matrix), choice.p
    selection = choice.selection(ranking)
    gamma = choose_gamma(
        p.gamma,
        comparable=folds.comparable(selection.indices),
        n=count(folds.references),
        m=len(selection.indices),
        preset=p.learns,
        start=p.gamma_start,
        name=p.preset,
        asked="gamma" not in p.reasons,
    )
    return Scoring(
        sampled=choice.sampled,
        scored=len(choice.scored),
        scores=matrix.mean((0, 1)),
        per_fold=matrix.mean(1),
        ranking=ranking,
        selection=selection,
        blind=choice.blind(matrix, selection, surrogates),
        gamma=gamma,
        notes=tuple(folds.notes),
    )


def _score(
    folds: ScoringFolds, candidates: Batch, sources: Sequence[str], first: int, p: Parameters, keeper: Keeper
) -> Generator[ScoringProgress, None, Tensor]:
    """Return the scores (F, K, c) of all candidates, or of the `first` of them where these repeat like chance.

    Every fold has its own share of the draws; what an attempt before this one has found is not computed again.
    """
    parts: list[list[Tensor]] = [[] for _ in folds.held]
    found = keeper.found()
    order = {"first": first, "by_length": "attention_mask" in candidates}
    told = {} if found is None else {"by_length": False} | dict(found.values)
    if found is not None and order.items() <= told.items():  # else its candidates are in another order
        folds.notes[:] = found.values["notes"]
        for fold, scores in found.tensors.items():
            parts[int(fold)].append(scores)

    def state() -> State:
        tensors = {str(fold): torch.cat(part, 1) for fold, part in enumerate(parts) if part}
        return State({"notes": folds.notes, **order}, tensors)

    yield from saved(_missing(folds, candidates, sources, first, p, parts), keeper, state)
    return torch.stack([torch.cat(part, dim=1) for part in parts])


def _missing(
    folds: ScoringFolds,
    candidates: Batch,
    sources: Sequence[str],
    first: int,
    p: Parameters,
    parts: Sequence[list[Tensor]],
) -> Iterator[ScoringProgress]:
    """Add to every fold's part, (K, c) in pieces, the scores that it lacks: of the first, then perhaps of the rest."""
    amount = count(candidates)
    total = amount * len(parts)
    for start, end in ((0, first), (first, amount)):
        if start == end:
            continue
        if start:
            tested = rank(torch.stack([torch.cat(part, dim=1)[:, :start] for part in parts]), sources[:start])
            if tested.repeats is False:
                yield ScoringProgress(start * len(parts), start * len(parts))
                return
        for fold, part in enumerate(parts):
            before = start * len(parts) + fold * (end - start)
            for scored in _pieces(folds, fold, candidates, range(start, end), p, part):
                yield ScoringProgress(before + scored, total)


def _pieces(
    folds: ScoringFolds, fold: int, candidates: Batch, span: range, p: Parameters, part: list[Tensor]
) -> Iterator[int]:
    """Add one fold's scores of the candidates `span`, without those that it holds; yield how many of them it has."""
    known = sum(scores.shape[1] for scores in part)
    if known >= span.stop:
        return
    ready = folds.scorer(fold, p)  # made anew for the rest: kept, the curvatures of all folds would fill the memory
    for piece in chunks(len(span), ready.at_once):
        index = piece + span.start
        if index[0] < known:
            continue
        some = take(candidates, index)
        noise = folds.noise(fold, some, p)
        with folds.heard(), folds.backbone.profiler.timed("score", units(some) * len(noise), len(noise)):
            part.append(ready.score(some, noise))
        yield int(piece[-1]) + 1


def sample_sizes(pool: int, p: Parameters) -> tuple[int, int]:
    """Return how many of `pool` candidates are to be scored, at least one, and how many of them before the rest.

    Who asks for a share of the pool has all of it scored.
    """
    sampled = max(1, math.ceil(p.sample_ratio * pool))
    tested = "sample_ratio" in p.reasons and p.score != "random"
    return sampled, first_part(sampled) if tested else sampled


def _sample(candidates: Batch, p: Parameters, left_out: Collection[int]) -> tuple[Tensor, int]:
    """Return the indices of a random share of the pool, those that are scored first in front, and how many these are.

    Each part is sorted, texts that are scored by their length.
    """
    order = torch.randperm(count(candidates), generator=torch.Generator().manual_seed(p.seed))
    order = order[~torch.isin(order, _indices(left_out))]
    sampled, first = sample_sizes(len(order), p)
    order = order[:sampled]
    parts = [order[:first].sort().values, order[first:].sort().values]
    if p.score != "random":
        parts = [by_length(candidates, part) for part in parts]
    return torch.cat(parts), first


def _indices(places: Collection[int]) -> Tensor:
    return torch.tensor(sorted(places), dtype=torch.long)


def _copies(candidates: Batch) -> Sequence[Hashable]:
    """Return a group for every candidate: near-duplicate pictures share one, and so do equal texts."""
    if "mean" in candidates:
        return near_duplicates_by_cosine(candidates["mean"])
    return [tuple(ids) for ids in candidates["input_ids"].tolist()]

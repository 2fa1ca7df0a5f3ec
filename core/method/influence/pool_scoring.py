"""From surrogates to the replayed candidates: cross-fitted scores, their reliability, and the selection.

Shapes: F folds (one surrogate each), K draws, c candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, by_length, count, take, units
from core.method.influence.folds import ScoringFolds
from core.method.influence.gradients import chunks
from core.method.influence.ranking import Ranking, rank
from core.method.influence.selection import (
    DRAWN,
    POOLED,
    SCORED,
    Selection,
    near_duplicates_by_cosine,
    select,
    select_at_random,
)
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
    scored = sampled[: found.shape[2]]
    matrix = torch.full((*found.shape[:2], count(candidates)), math.nan)
    matrix[:, :, scored] = found
    ranking = rank(matrix, sources)
    if len(scored) < len(sampled):  # the weights behind `reliability` are fitted to what is noise, and flatter it
        ranking = replace(ranking, values=matrix.mean((0, 1)), reliability=ranking.by_candidate)
    usable = torch.ones(count(candidates), dtype=torch.bool).index_fill(0, _indices(left_out), False)
    choosing = partial(
        _selected,
        scored=scored,
        sampled=len(sampled),
        sources=sources,
        duplicates=_copies(candidates),
        p=p,
        usable=usable,
    )
    selection = choosing(ranking)
    gamma = choose_gamma(
        p.gamma,
        comparable=folds.comparable(selection.indices),
        n=count(references),
        m=len(selection.indices),
        preset=p.learns,
        start=p.gamma_start,
        name=p.preset,
    )
    blind, notes = _blind(matrix, selection, len(held), sources, choosing), tuple(folds.notes)
    scores, per_fold = matrix.mean((0, 1)), matrix.mean(1)
    return Scoring(len(sampled), len(scored), scores, per_fold, ranking, selection, blind, gamma, notes)


def _blind(
    matrix: Tensor, selection: Selection, folds: int, sources: Sequence[str], choosing: Callable[[Ranking], Selection]
) -> tuple[tuple[int, ...], ...]:
    """Return a selection for every surrogate that its own held-out references had no part in.

    A fold's scores are aimed at the references that it holds out. Judged by the same ones, what they select looks
    better than it is to unseen data (`benchmarks/trial_bias.py`). A draw, and folds that were not scored, flatter
    nobody.
    """
    scored = len(matrix)
    if selection.rule == "random" or scored < 2:
        return (selection.indices,) * folds
    others = [choosing(rank(torch.cat([matrix[:fold], matrix[fold + 1 :]]), sources)) for fold in range(scored)]
    return tuple((others[fold] if fold < scored else selection).indices for fold in range(folds))


def _selected(
    ranking: Ranking,
    scored: Tensor,
    sampled: int,
    sources: Sequence[str],
    duplicates: Sequence[Hashable],
    p: Parameters,
    usable: Tensor,
) -> Selection:
    """Select by what was scored or, where the rest of the sample was not worth scoring, draw from what is usable."""
    if len(scored) == sampled:
        pooled = SCORED if ranking.by_source is None else POOLED
        return select(
            ranking.values.where(usable, math.nan),
            count=p.selected_count,
            sources=sources,
            duplicates=duplicates,
            reliability=ranking.reliability,
            seed=p.seed,
            words=DRAWN if p.score == "random" else pooled,
        )
    drawn_from = torch.where(usable, 0.0, math.nan)
    drawn_from[scored] = ranking.values[scored].to(drawn_from)  # what has no finite score is not replayed either
    halves = f"Two halves of the scores of {len(scored)} candidates {ranking.doubt}"
    why = f"{halves}, so the other {sampled - len(scored)} were not scored"
    return select_at_random(
        drawn_from,
        count=p.selected_count,
        sources=sources,
        duplicates=duplicates,
        reliability=ranking.reliability,
        seed=p.seed,
        why=why,
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

"""From surrogates to the replayed candidates: cross-fitted scores, their reliability, the selection and the error law.

Shapes: F folds (one surrogate each), K draws, n references, c candidates, D adapter parameters.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count, take, units
from core.method.backbones.lora import Adapter
from core.method.influence.gradients import chunks, flat, per_sample_gradients
from core.method.influence.ranking import Ranking, rank
from core.method.influence.scores import Scorer, ScoreWarning, scorer
from core.method.influence.selection import Selection, near_duplicates, select
from core.method.mixing.error_law import MixingReport, error_law
from core.method.mixing.gamma import GammaChoice, choose_gamma
from core.method.training.resuming import NOWHERE, Keeper, State, saved
from core.parameters.parameters import Parameters
from core.parameters.schedule import CANDIDATES_AT_ONCE, TEXT_FOLDS

GRADIENT_FLOATS = 2**28  # floats of reference gradients alive at once (1 GiB)


@dataclass(frozen=True)
class Progress:
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
    mixing: MixingReport | None
    gamma: GammaChoice
    notes: tuple[str, ...]  # what must be told beside the scores


@dataclass
class _Folds:
    """Hold the surrogates as the scores need them: one adapter a fold, on the backbone's device."""

    backbone: Backbone
    references: Batch
    adapters: list[Adapter]
    held: list[list[int]]  # reference indices that each surrogate has not seen
    notes: list[str] = field(default_factory=list)

    @property
    def everything(self) -> list[int]:
        return list(range(count(self.references)))

    def rows_allowed(self, draws: int = 1) -> int:
        """Return how many examples' gradients fit in memory together."""
        return max(4, GRADIENT_FLOATS // (flat(self.adapters[0]).shape[1] * draws))

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Turn the scores' warnings into notes for the job, each once."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ScoreWarning)
            yield
        for warning in caught:
            if not issubclass(warning.category, ScoreWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            elif str(warning.message) not in self.notes:
                self.notes.append(str(warning.message))

    def noise(self, fold: int, examples: int, p: Parameters) -> list[Draw]:
        """Return the fold's own share of the fixed draws, as many for every fold; each fold has at least one."""
        draws = self.backbone.fixed_draws(p.draws_score, examples, p.seed)
        share = max(1, len(draws) // len(self.held))
        return [draws[(fold + turn * len(self.held)) % len(draws)] for turn in range(share)]

    def scorer(self, fold: int, p: Parameters) -> Scorer:
        """Prepare one fold's scores from as many references as memory allows."""
        held = self.held[fold] or self.everything
        trained = [i for i in self.everything if i not in self.held[fold]]
        allowed = self.rows_allowed(len(self.noise(fold, 1, p)))
        held = _thinned(held, max(1, allowed * len(held) // (len(held) + len(trained))))
        trained = _thinned(trained, max(1, allowed - len(held)))
        used = sorted({*held, *trained})
        place = {reference: at for at, reference in enumerate(used)}
        shown = take(self.references, torch.tensor(used))
        noise = self.noise(fold, len(used), p)
        with self.heard():
            return scorer(
                self.backbone,
                self.adapters[fold],
                shown,
                noise,
                mode=p.score,
                seed=p.seed,
                held=[place[i] for i in held],
                trained=[place[i] for i in trained],
            )

    def gradients(self, examples: Batch, parts: Sequence[Sequence[int]], draws: int, seed: int) -> Tensor:
        """Return the gradients (rows, D) of the examples `parts[f]` at surrogate f, averaged over the draws."""
        rows = []
        for adapter, part in zip(self.adapters, parts, strict=True):
            if part:
                noise = self.backbone.fixed_draws(draws, len(part), seed)
                batch = take(examples, torch.tensor(list(part)))
                rows.append(per_sample_gradients(self.backbone, adapter, batch, noise).rows)
        return torch.cat(rows)


def score_pool(
    backbone: Backbone,
    surrogates: Adapter,
    held: Sequence[Sequence[int]],
    references: Batch,
    candidates: Batch,
    p: Parameters,
    sources: Sequence[str],
    keeper: Keeper = NOWHERE,
) -> Generator[Progress, None, Scoring]:
    """Score a sample of the pool with every surrogate, select, and estimate how much of it to mix in.

    Draws are spread over the folds, so that K folds cost no more than one; every fold's target gradient comes from the
    references its surrogate has not seen.
    """
    kept = len(held) if backbone.kind == "images" else min(len(held), TEXT_FOLDS)
    adapters = [surrogates.select(run).to(backbone.device) for run in range(kept)]
    folds = _Folds(backbone, references, adapters, [list(part) for part in held[:kept]])
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
    report = _law(folds, candidates, selection, p)
    gamma = choose_gamma(
        p.gamma, report, n=count(references), m=len(selection.indices), preset=p.preset, start=p.gamma_start
    )
    return Scoring(matrix.mean((0, 1)), matrix.mean(1), ranking, selection, report, gamma, tuple(folds.notes))


def _score(folds: _Folds, candidates: Batch, p: Parameters, keeper: Keeper) -> Generator[Progress, None, Tensor]:
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


def _missing(folds: _Folds, candidates: Batch, p: Parameters, parts: Sequence[list[Tensor]]) -> Iterator[Progress]:
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
            yield Progress(fold * amount + int(index[-1]) + 1, amount * len(parts))


def _law(folds: _Folds, candidates: Batch, selection: Selection, p: Parameters) -> MixingReport | None:
    """Estimate the error law from held-out references and selected candidates, cross-fitted; None with too few."""
    selected = list(selection.indices)
    if not all(folds.held) or len(selected) < 2:
        return None
    allowed = folds.rows_allowed() // 2
    mine = [_thinned(part, max(1, allowed // len(folds.held))) for part in folds.held]
    others = _thinned(selected, max(2, allowed))
    spread = [others[fold :: len(folds.held)] for fold in range(len(folds.held))]
    if sum(map(len, mine)) < 2:
        return None
    return error_law(
        folds.gradients(folds.references, mine, p.draws_score, p.seed),
        folds.gradients(candidates, spread, p.draws_score, p.seed),
        n=count(folds.references),
        m=len(selected),
        gamma=p.gamma if isinstance(p.gamma, float) else None,
        seed=p.seed,
    )


def _sample(amount: int, ratio: float, seed: int) -> Tensor:
    """Return the sorted indices of a random share of the pool, at least one."""
    order = torch.randperm(amount, generator=torch.Generator().manual_seed(seed))
    return order[: max(1, math.ceil(ratio * amount))].sort().values


def _copies(candidates: Batch) -> Sequence[object]:
    """Return a group for every candidate: near-duplicate pictures share one, and so do equal texts."""
    if "mean" in candidates:
        return near_duplicates(candidates["mean"])
    return [tuple(ids) for ids in candidates["input_ids"].tolist()]


def _thinned(indices: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the indices, evenly spread."""
    if len(indices) <= most:
        return list(indices)
    return [indices[at * len(indices) // most] for at in range(most)]

"""Does the first part of the scoring tell whether the rest is worth it? A pool of 960 is scored; first parts are drawn.

Shapes: F folds, K draws, c candidates.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks import nano
from benchmarks.arms import result_of
from benchmarks.records import Record
from benchmarks.world import Setting, World
from core.method.albat import score_candidates, train_surrogate
from core.method.influence.ranking import rank
from core.method.influence.selection import TRUSTED
from core.parameters.schedule import first_part

CASES = (("near", 16), ("near", 8), ("foreign", 16), ("foreign", 8))
SEEDS, DRAWS, PER_LANGUAGE, FOLDS = range(5), 40, 80, 4
NOISE_DRAWS = 200


def first_parts(folder: Path) -> list[Record]:
    """Return, for every case and seed, in which share of the draws the first part says that the rest is worth it."""
    return [_one(name, n, seed, folder) for name, n in CASES for seed in SEEDS]


def _one(name: str, n: int, seed: int, folder: Path) -> Record:
    world = nano.world(Setting("nano", name, n, 4e-3, seed), folder)
    generator = torch.Generator().manual_seed(4000 + seed)
    chains = nano.languages()
    pool = nano.batch(torch.cat([nano.sentences(chain, PER_LANGUAGE, generator) for chain in chains]))
    sources = [f"language {number}" for number in range(len(chains)) for _ in range(PER_LANGUAGE)]
    per_fold = _scores(world, pool, sources)
    amount = first_part(len(sources))
    drawn = [torch.randperm(len(sources), generator=generator)[:amount] for _ in range(DRAWS)]
    goes_on = [_repeats(per_fold[:, :, part], [sources[i] for i in part.tolist()]) for part in drawn]
    own = {f"language {number}" for number, _ in nano.DIALECTS[name]}
    best = rank(per_fold, sources).values.topk(world.parameters.selected_count).indices.tolist()
    return {
        "set": name,
        "n": n,
        "seed": seed,
        "whole_repeats": _repeats(per_fold, sources),
        "right": round(fmean(sources[i] in own for i in best) * len(chains), 3) if own else None,
        "goes_on": round(fmean(goes_on), 4),
    }


def _scores(world: World, pool: dict[str, Tensor], sources: list[str]) -> Tensor:
    """Return the scores of all candidates (F, 1, c)."""
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    p = world.parameters
    found = result_of(score_candidates(world.backbone, surrogate, world.references, pool, p, sources))
    return found.per_fold.unsqueeze(1)


def _repeats(scores: Tensor, sources: list[str]) -> bool:
    return bool(rank(scores, sources).repeats)


def noise() -> list[Record]:
    """Return how often scores that are noise look reliable, and how often they are told from chance, by size."""
    rows = []
    for candidates in (96, 240, 960):
        generator = torch.Generator().manual_seed(candidates)
        sources = [f"language {number % nano.LANGUAGES}" for number in range(candidates)]
        drawn = [rank(torch.randn(FOLDS, 1, candidates, generator=generator), sources) for _ in range(NOISE_DRAWS)]
        reliable = fmean((one.reliability or 0.0) > TRUSTED for one in drawn)
        rows.append({"candidates": candidates, "above": reliable, "repeats": fmean(bool(one.repeats) for one in drawn)})
    return rows

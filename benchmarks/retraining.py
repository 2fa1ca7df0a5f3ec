"""Do scores tell what retraining would? Every candidate, and every group of eight, is trained with, exactly.

Truth: the held-out loss after training on the references with the candidate in a share of the batch slots, averaged
over seeds. Its ceiling comes from the rank correlation of two halves of those seeds: no score can do better.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks import nano
from benchmarks.arms import result_of
from benchmarks.method import HERE
from benchmarks.rank_correlation import spearman
from benchmarks.records import write
from benchmarks.runs import Arm, train_arms
from benchmarks.world import Setting, World
from core.method.albat import score_candidates, train_surrogate
from core.method.influence.ranking import rank
from core.method.training.surrogates import Surrogate

RESULTS = HERE / "results" / "retraining.json"
CANDIDATES, GROUP, GROUPS = 64, 8, 32
GROUP_SHARE = 0.25  # of the batch slots; a single candidate gets what one more reference would
REPEATS = 4  # retrainings with other seeds
SCORES = ("influence", "datainf", "cosine", "kolossov_bartlett")


def compare(setting: Setting, folder: Path) -> dict[str, float]:
    """Return rank correlations of scores with retraining, for single candidates and for groups, and their ceilings."""
    world = nano.world(setting, folder)
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    generator = torch.Generator().manual_seed(setting.seed)
    chosen = _chosen(world, generator)
    groups = _groups(world, generator)
    singles = _retrained(world, surrogate.step, [(index,) for index in chosen], 1 / (setting.n + 1))
    together = _retrained(world, surrogate.step, groups, GROUP_SHARE)
    found = {"ceiling, single": _ceiling(singles), "ceiling, groups": _ceiling(together)}
    for score in SCORES:
        values = _scores(world, surrogate, score)
        found[f"{score}, single"] = spearman(values[list(chosen)], singles.mean(0))
        found[f"{score}, groups"] = spearman(
            torch.stack([values[list(group)].mean() for group in groups]), together.mean(0)
        )
    return {name: round(value, 4) for name, value in found.items()}


def _chosen(world: World, generator: torch.Generator) -> tuple[int, ...]:
    """Return candidates, half of them from the right source where there are as many."""
    right = world.right.nonzero().flatten()
    others = (~world.right).nonzero().flatten()
    own = right[torch.randperm(len(right), generator=generator)][: CANDIDATES // 2]
    rest = others[torch.randperm(len(others), generator=generator)][: CANDIDATES - len(own)]
    return tuple(torch.cat([own, rest]).tolist())


def _groups(world: World, generator: torch.Generator) -> list[tuple[int, ...]]:
    """Return groups of eight, each of one source, as a selection by source would replay them."""
    sources = list(dict.fromkeys(world.sources))
    groups = []
    for number in range(GROUPS):
        members = [i for i, source in enumerate(world.sources) if source == sources[number % len(sources)]]
        order = torch.randperm(len(members), generator=generator).tolist()
        groups.append(tuple(members[place] for place in order[:GROUP]))
    return groups


def _retrained(world: World, best_step: int, selections: Sequence[tuple[int, ...]], share: float) -> Tensor:
    """Return how much lower the held-out loss became, (repeats, selections), at the step of the surrogates."""
    steps = max(4, round(best_step / (1 - share)))
    rows = []
    for repeat in range(REPEATS):
        seed = 100 * (repeat + 1) + world.setting.seed
        changed = world.parameters.model_copy(update={"max_steps": steps, "seed": seed})
        other = replace(world, parameters=changed, thinning=1000)
        arms = {str(number): Arm(str(number), picks, share) for number, picks in enumerate(selections)}
        curves, _ = train_arms(other, arms)
        rows.append([-curve.heldout[-1] for curve in curves.values()])
    return torch.tensor(rows)


def _scores(world: World, surrogate: Surrogate, score: str) -> Tensor:
    p = world.parameters.model_copy(update={"score": score})
    scored = result_of(score_candidates(world.backbone, surrogate, world.references, world.pool, p, world.sources))
    return rank(scored.per_fold.unsqueeze(1), world.sources).values


def _ceiling(truth: Tensor) -> float:
    halves = spearman(truth[: REPEATS // 2].mean(0), truth[REPEATS // 2 :].mean(0))
    whole = 2 * halves / (1 + halves) if halves > 0 else 0.0
    return whole**0.5  # correlation of the truth as measured with the truth without noise


def main() -> None:
    """Compare on two sets at two sizes, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retraining", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rows = []
    for name in ("near", "dialect"):
        for n in (8, 16):
            for seed in chosen.seeds:
                print(f"{name} n={n} seed={seed}", file=sys.stderr, flush=True)
                found = compare(Setting("nano", name, n, 4e-3, seed), chosen.work)
                rows.append({"set": name, "n": n, "seed": seed, **found})
    write(chosen.results, rows)
    for key in rows[0]:
        if key not in ("set", "n", "seed"):
            print(f"{key:28} {fmean(row[key] for row in rows):+.2f}")


if __name__ == "__main__":
    main()

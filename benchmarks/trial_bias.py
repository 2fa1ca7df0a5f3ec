"""Whether a trial flatters what was selected with the references that it judges by: on the small language model.

Scores are aimed at references that a surrogate holds out. Each experiment is tried three times: with the selection of
all folds, for each surrogate with that of the other folds, and with a draw; the truth is what the same share of the
selection changes on unseen data. `python -m benchmarks.trial_bias` writes results/trial_bias.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from benchmarks import nano, records
from benchmarks.arms import result_of
from benchmarks.runs import Arm, train_arms
from benchmarks.world import Setting, World
from core.method.albat import train_surrogate
from core.method.backbones.backbone import Batch, count, take
from core.method.influence.folds import ScoringFolds
from core.method.influence.ranking import rank
from core.method.influence.selection import select
from core.method.mixing.trial import try_mixture
from core.method.protection.protection import Protection
from core.method.training.surrogates import Surrogate

RESULTS = Path(__file__).resolve().parent / "results" / "trial_bias.json"
SEEDS = tuple(range(20, 24))
SIZES = ((8, 4e-3), (16, 4e-3))
GAMMA = 0.5
Picks = tuple[tuple[int, ...], ...]  # one for each surrogate


def experiment(setting: Setting, folder: Path) -> records.Record:
    """Return what the three trials said, and what is true of the selection and of the draw."""
    world = nano.world(setting, folder)
    surrogate = result_of(train_surrogate(world.backbone, world.references, world.parameters))
    folds = surrogate.curves.folds
    scores = _scores(world, surrogate)
    everything = _best(world, scores)
    drawn = torch.randperm(count(world.pool), generator=torch.Generator().manual_seed(500 + setting.seed))
    others = tuple(_best(world, torch.cat([scores[:fold], scores[fold + 1 :]])) for fold in range(len(folds)))
    random = tuple(drawn[: len(everything)].tolist())
    tried = {"same": (everything,) * len(folds), "others": others, "random": (random,) * len(folds)}
    arms = {"none": Arm("none"), "selected": Arm("selected", everything, GAMMA), "random": Arm("random", random, GAMMA)}
    curves, _ = train_arms(world, arms)
    lowest = {name: min(curve.heldout[1:]) / curve.heldout[0] for name, curve in curves.items()}
    return {
        "key": setting.key,
        "cluster": [setting.set, setting.seed],
        "n": setting.n,
        "tried": {name: round(_tried(world, surrogate, picks), 5) for name, picks in tried.items()},
        "true": {name: round(lowest["none"] - lowest[name], 5) for name in ("selected", "random")},
    }


def _scores(world: World, surrogate: Surrogate) -> Tensor:
    """Return the scores of all folds (F, 1, c), each aimed at its own held-out references."""
    held, p = surrogate.curves.folds, world.parameters
    adapters = [surrogate.adapter.select(run) for run in range(len(held))]
    folds = ScoringFolds(world.backbone, world.references, adapters, [list(part) for part in held])
    return torch.stack(
        [folds.scorer(fold, p).score(world.pool, folds.noise(fold, world.pool, p)) for fold in range(len(held))]
    )


def _best(world: World, scores: Tensor) -> tuple[int, ...]:
    ranking, p = rank(scores, world.sources), world.parameters
    return select(ranking.values, count=p.selected_count, sources=world.sources, seed=p.seed).indices


def _tried(world: World, surrogate: Surrogate, picks: Picks) -> float:
    blind: tuple[Batch, ...] = tuple(take(world.pool, torch.tensor(pick)) for pick in picks)
    protection = Protection(GAMMA, examples=blind[0], blind=blind)
    trial = result_of(try_mixture(world.backbone, world.references, protection, surrogate, world.parameters))
    assert trial is not None
    return trial.gain


def settings(seeds: Sequence[int]) -> Iterator[Setting]:
    """Yield every experiment: four dialects, two sizes."""
    for seed in seeds:
        for name in nano.DIALECTS:
            for n, rate in SIZES:
                yield Setting("nano", name, n, rate, seed)


def bias(rows: Sequence[records.Record], how: str) -> float:
    """Return by how much a kind of trial is better than the truth, a share of the first loss."""
    true = "random" if how == "random" else "selected"
    return fmean(row["tried"][how] - row["true"][true] for row in rows)


def main() -> None:
    """Run what is missing and write the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial_bias", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("benchmark-work"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(chosen.results.read_text()) if chosen.results.is_file() else []
    for setting in settings(chosen.seeds):
        if setting.key not in {row["key"] for row in rows}:
            rows.append(experiment(setting, chosen.work))
            records.write(chosen.results, rows)
            print(f"{rows[-1]['key']}: {rows[-1]['tried']} {rows[-1]['true']}", flush=True)
    print({how: round(bias(rows, how), 4) for how in ("same", "others", "random")}, len(rows))


if __name__ == "__main__":
    main()

"""What the runs of one experiment replay: surrogates are trained, the pool is scored, mixtures are tried."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.runs import Arm
from benchmarks.world import World
from core.method.albat import forecast_error, score_candidates, train_surrogate
from core.method.backbones.backbone import count, take
from core.method.influence.pool_scoring import Scoring
from core.method.influence.ranking import Ranking
from core.method.influence.scores import ScoreWarning
from core.method.mixing.error_law import MixingReport
from core.method.mixing.trial import Trial, try_mixture
from core.method.protection.protection import Protection
from core.method.stopping.evidence import SurrogateCurves
from core.method.stopping.splitting import folds
from core.method.training.surrogates import Surrogate, train_folds

Result = TypeVar("Result")
OTHER_SCORES = ("datainf", "cosine", "kolossov_bartlett")


@dataclass(frozen=True)
class Prepared:
    """Hold what precedes the final runs of one experiment."""

    arms: dict[str, Arm]
    surrogate: Surrogate
    pair: SurrogateCurves  # of two folds instead of four: the thrifty evidence
    trials: dict[float, Trial]
    ranking: Ranking
    law: MixingReport | None
    auto_gamma: float
    shares: dict[str, tuple[float, float]]  # per selection: share of the right source and of shuffled, over chance
    seconds: dict[str, float]

    def curves_of(self, arm: Arm) -> SurrogateCurves | None:
        """Return the evidence a job would have for this arm; None where its mixture was not the one tried."""
        if not arm.gamma:
            return self.surrogate.curves
        trial = self.trials.get(arm.gamma)
        return trial.curves if trial and arm.selected == self.arms["influence .25"].selected else None


def prepare(world: World, *, lean: bool, gammas: Sequence[float]) -> Prepared:
    """Train surrogates, score, select, and try the mixtures; `lean` leaves out the other scores."""
    clock, p, backbone = _Clock(), world.parameters, world.backbone
    surrogate = clock("surrogates", lambda: result_of(train_surrogate(backbone, world.references, p)))
    halves = folds(count(world.references), 2, p.seed)
    pair = surrogate.curves
    if p.folds != 2:
        pair = clock("pair", lambda: result_of(train_folds(backbone, world.references, halves, p))).curves
    scoring = clock("scores", lambda: _scored(world, surrogate, "influence"))
    picks = {
        "random": _random(world, p.seed),
        "influence": scoring.selection.indices,
        "single": tuple(scoring.scores.nan_to_num(-1e9).topk(world.parameters.selected_count).indices.tolist()),
        "oracle": _oracle(world, p.seed),
    }
    for score in () if lean else OTHER_SCORES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ScoreWarning)
            picks[score] = _scored(world, surrogate, score).selection.indices
    trials = {gamma: clock(f"trial {gamma:g}", partial(_tried, world, surrogate, scoring, gamma)) for gamma in gammas}
    law = clock("law", lambda: _law(world, surrogate, picks["influence"]))
    intended = scoring.gamma.gamma
    auto, following = intended, trials.get(intended)
    while following is not None:
        auto = following.decide().gamma
        following = trials.get(following.next_gamma) if following.next_gamma else None
    return Prepared(
        _arms(world, picks),
        surrogate,
        pair,
        trials,
        scoring.ranking,
        law,
        auto,
        {name: _shares(world, pick) for name, pick in picks.items() if pick},
        clock.seconds,
    )


def _tried(world: World, surrogate: Surrogate, scoring: Scoring, gamma: float) -> Trial:
    """Try a share of what was selected, each surrogate with what its own held-out references had no part in."""
    examples, *blind = (take(world.pool, torch.tensor(pick)) for pick in (scoring.selection.indices, *scoring.blind))
    protection = Protection(gamma, examples=examples, blind=tuple(blind))
    trial = result_of(try_mixture(world.backbone, world.references, protection, surrogate, world.parameters))
    assert trial is not None
    return trial


def _arms(world: World, picks: dict[str, tuple[int, ...]]) -> dict[str, Arm]:
    n, m = count(world.references), len(picks["influence"])
    arms = {
        "none": Arm("none"),
        "quarter": Arm("quarter", left_out=tuple(folds(n, 4, world.parameters.seed)[0])),
        "random .25": Arm("random .25", picks["random"], 0.25),
        "random .5": Arm("random .5", picks["random"], 0.5),
        "influence .25": Arm("influence .25", picks["influence"], 0.25),
        "influence .5": Arm("influence .5", picks["influence"], 0.5),
        "influence natural": Arm("influence natural", picks["influence"], min(0.95, m / (n + m))),
        "single scores .5": Arm("single scores .5", picks["single"], 0.5),
    }
    arms |= {f"{name} .5": Arm(f"{name} .5", pick, 0.5) for name, pick in picks.items() if name in OTHER_SCORES}
    if picks["oracle"]:
        arms["oracle .5"] = Arm("oracle .5", picks["oracle"], 0.5)
    return arms


def automatic(prepared: Prepared) -> str:
    """Return the arm that gamma="auto" comes to."""
    return {0.0: "none", 0.25: "influence .25", 0.5: "influence .5"}[prepared.auto_gamma]


def result_of(steps: Generator[object, None, Result]) -> Result:
    """Drive a generator of the method to its end and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _scored(world: World, surrogate: Surrogate, score: str) -> Scoring:
    p = world.parameters.model_copy(update={"score": score})
    return result_of(score_candidates(world.backbone, surrogate, world.references, world.pool, p, world.sources))


def _law(world: World, surrogate: Surrogate, pick: tuple[int, ...]) -> MixingReport | None:
    return forecast_error(world.backbone, surrogate, world.references, world.pool, pick, world.parameters)


def _random(world: World, seed: int) -> tuple[int, ...]:
    order = torch.randperm(count(world.pool), generator=torch.Generator().manual_seed(500 + seed))
    return tuple(order[: world.parameters.selected_count].tolist())


def _oracle(world: World, seed: int) -> tuple[int, ...]:
    """Return clean candidates of the right source."""
    right = (world.right & ~world.shuffled).nonzero().flatten()
    order = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(900 + seed))]
    return tuple(order[: world.parameters.selected_count].tolist())


def _shares(world: World, pick: Sequence[int]) -> tuple[float, float]:
    return _lift(world.right, pick), _lift(world.shuffled, pick)


def _lift(marked: Tensor, pick: Sequence[int]) -> float:
    """Return the share of marked candidates among the picks over their share in the pool; NaN where there are none."""
    whole = marked.float().mean().item()
    return marked[list(pick)].float().mean().item() / whole if whole else float("nan")


class _Clock:
    """Time named pieces of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Result]) -> Result:
        began = time.monotonic()
        result = work()
        self.seconds[name] = time.monotonic() - began
        return result

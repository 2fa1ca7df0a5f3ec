"""Influence scores against exact retraining, on logistic regression."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from benchmarks.rank_correlation import spearman
from core.method.influence.curvature import Curvature
from tests.core.method.influence.oracles import precondition

D, RIDGE = 10, 0.02


@dataclass(frozen=True)
class Data:
    x: Tensor  # (n, D)
    y: Tensor  # (n,) in 0, 1

    def part(self, start: int, stop: int) -> "Data":
        return Data(self.x[start:stop], self.y[start:stop])


def draw(count: int, theta: Tensor, generator: torch.Generator) -> Data:
    x = torch.randn(count, D, generator=generator, dtype=torch.float64)
    return Data(x, torch.bernoulli((x @ theta).sigmoid(), generator=generator))


def gradients(data: Data, theta: Tensor) -> Tensor:
    return ((data.x @ theta).sigmoid() - data.y)[:, None] * data.x


def risk(data: Data, theta: Tensor) -> Tensor:
    """The mean loss at every row of theta (c, D)."""
    logits = theta @ data.x.T
    return (torch.nn.functional.softplus(logits) - data.y * logits).mean(1)


def fit(data: Data, extra: Data | None = None, weight: float = 0.0) -> Tensor:
    """Newton's method on the mean loss + ridge; with `extra`, one fit for each of its rows, added with `weight`."""
    count = 1 if extra is None else len(extra.y)
    theta = torch.zeros(count, D, dtype=torch.float64)
    n = len(data.y)
    for _ in range(12):
        p = (theta @ data.x.T).sigmoid()
        slope = (p - data.y) @ data.x / n + RIDGE * theta
        hessian = torch.einsum("cn,ni,nj->cij", p * (1 - p), data.x, data.x) / n + RIDGE * torch.eye(D).double()
        if extra is not None:
            q = (theta * extra.x).sum(1).sigmoid()
            slope += weight * ((q - extra.y)[:, None] * extra.x)
            hessian += weight * torch.einsum("c,ci,cj->cij", q * (1 - q), extra.x, extra.x)
        theta = theta - torch.linalg.solve(hessian, slope)
    return theta


def fisher_rows(x: Tensor, theta: Tensor) -> Tensor:
    """Rows r with mean r r' = the Hessian of the loss (the model Fisher)."""
    p = (x @ theta).sigmoid()
    return (p * (1 - p)).sqrt()[:, None] * x


def hessian(data: Data, theta: Tensor) -> Curvature:
    """The exact Hessian of the objective: the damping is the ridge."""
    rows = fisher_rows(data.x, theta)
    return Curvature.of(rows, damping=RIDGE / rows.square().mean().item())


@pytest.fixture
def task() -> tuple[Data, Data, Data]:
    """References, held-out references, and a pool of 120 of which the last 40 have flipped labels."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(D, generator=generator, dtype=torch.float64) * 0.7
    references, held, pool = (draw(count, theta, generator) for count in (300, 2000, 120))
    flipped = pool.y.clone()
    flipped[80:] = 1 - flipped[80:]
    return references, held, Data(pool.x, flipped)


def scores_of(references: Data, held: Data, pool: Data) -> Tensor:
    theta = fit(references)[0]
    u = hessian(references, theta).solve(gradients(held, theta).mean(0))
    return gradients(pool, theta) @ u


def gains_of(references: Data, held: Data, pool: Data, weight: float) -> Tensor:
    """The fall of the held-out risk when each candidate is added with `weight` of a reference and all is refitted."""
    return risk(held, fit(references)) - risk(held, fit(references, pool, weight / len(references.y)))


def test_a_score_is_the_gain_of_retraining_with_a_small_weight(task: tuple[Data, Data, Data]) -> None:
    scores, gains = scores_of(*task), gains_of(*task, weight=1e-3)
    assert spearman(scores, gains) > 0.999
    slope = (scores @ gains) / (scores @ scores) / (1e-3 / 300)
    assert slope.item() == pytest.approx(1.0, abs=0.01)


def test_a_score_still_ranks_whole_examples(task: tuple[Data, Data, Data]) -> None:
    assert spearman(scores_of(*task), gains_of(*task, weight=1)) > 0.9


def test_flipped_labels_score_lower(task: tuple[Data, Data, Data]) -> None:
    scores = scores_of(*task)
    assert scores[80:].mean() < 0 < scores[:80].mean()


def test_the_gradients_own_curvature_keeps_most_of_the_ranking(task: tuple[Data, Data, Data]) -> None:
    references, held, pool = task
    theta = fit(references)[0]
    v, rows = gradients(held, theta).mean(0), gradients(references, theta)
    gains = gains_of(*task, weight=1e-3)
    ranks = {
        mode: spearman(gradients(pool, theta) @ precondition(v, rows, mode=mode), gains)
        for mode in ("woodbury", "datainf", "identity")
    }
    assert ranks["woodbury"] > 0.95
    assert min(ranks.values()) > 0.8


def test_the_training_gradient_ranks_nothing(task: tuple[Data, Data, Data]) -> None:
    """On the surrogate's own data v is minus the ridge's pull, whatever the target is."""
    references, _, pool = task
    theta = fit(references)[0]
    own = gradients(pool, theta) @ hessian(references, theta).solve(gradients(references, theta).mean(0))
    gains = gains_of(*task, weight=1e-3)
    assert spearman(own, gains) < spearman(scores_of(*task), gains) - 0.3


@pytest.mark.slow
def test_the_literal_bartlett_plug_in_prefers_poison_and_the_full_score_does_not() -> None:
    """B3 and B4 against the mean gain over 150 reference sets; a third of the pool is poisoned."""
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(D, generator=generator, dtype=torch.float64) * 0.7
    held, pool = draw(4000, theta, generator), draw(150, theta, generator)
    foreign = draw(150, -theta, generator)
    pool = Data(torch.cat([pool.x[:100], foreign.x[100:]]), torch.cat([pool.y[:100], foreign.y[100:]]))
    gain, plug_in, full = torch.zeros(3, 150, dtype=torch.float64)
    for _ in range(150):
        references = draw(100, theta, generator)
        here = fit(references)[0]
        curvature = hessian(references, here)
        gain += gains_of(references, held, pool, weight=1)
        misfit = curvature.quadratic(gradients(pool, here))
        plug_in += misfit
        full += curvature.quadratic(fisher_rows(pool.x, here)) - misfit / 2
    assert spearman(plug_in, gain) < -0.2
    assert spearman(full, gain) > 0.7
    assert (plug_in.argsort(descending=True)[:30] >= 100).float().mean() > 0.6
    assert (full.argsort(descending=True)[:30] >= 100).float().mean() < 0.1

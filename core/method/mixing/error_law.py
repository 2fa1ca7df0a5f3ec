"""The error law M(gamma): the expected error of training on a mixture, forecast from gradients at the surrogate.

Risk: R_bat|A = gamma R_bat + (1 - gamma) R_A (A1). A = references, B = backbone data.
Shapes: N = n' + m' gradient rows (held-out references first), all solves N x N on the Gram matrix; nothing is D x D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from core.method.transfers import to_host
from core.parameters.schedule import MAX_SHARE

Verdict = Literal["helps", "neutral", "harms"]

GRID_STEP = 0.025
GRID = tuple(round(GRID_STEP * step, 3) for step in range(round(MAX_SHARE / GRID_STEP) + 1))
MIN_SHARE = 0.05  # less than one slot in twenty is not worth replaying anything


@dataclass(frozen=True)
class Condition:
    """One inequality of the kind "backbone error <= reference error", with both of its sides."""

    left: float
    right: float

    @property
    def holds(self) -> bool:
        """Say whether the left side is at most the right side."""
        return self.left <= self.right


@dataclass(frozen=True)
class MixingReport:
    """What the gradients say about mixing: local, linearised, convex, with the Hessian taken as the gradients' Gram."""

    curve: tuple[tuple[float, float], ...]  # (gamma, M(gamma) / M(0)), M the expected squared error in the metric H_A
    gamma_star: float
    break_even: float  # the largest gamma of the grid up to which M stays below M(0)
    judged_gamma: float  # the share that the four fields below speak about
    ratio: float  # M(judged_gamma) / M(0); below 1 mixing lowers the expected error
    interval: tuple[float, float]  # 5 % and 95 % bootstrap quantiles of the ratio
    verdict: Verdict  # the law's own, which only experiments look at: a job goes by its trial
    proposition: Condition  # Prop. 4.2, reading R1, with the realised reference error on the right
    proposition_expected: float  # the same right side in expectation: sqrt(Tr(H_A^-1 G_A H_A^-1) / n)
    vanishing: Condition  # reading R3: "H_A vanishes"
    sufficient: Condition  # adds the term that Prop. 4.2 omits


def error_law(
    held_gradients: Tensor,
    backbone_gradients: Tensor,
    *,
    n: int,
    m: int,
    gamma: float | None = None,
    grid: Sequence[float] = GRID,
    damping: float = 1.0,
    resamples: int = 100,
    seed: int = 0,
) -> MixingReport:
    """Estimate M(gamma), the expected error of training on the mixture, from gradients at the surrogate.

    `held_gradients` (n', D): references that the surrogate was not trained on, or all versions of the law collapse;
    `backbone_gradients` (m', D): at most about 256 of the selected. n and m are the set sizes of the final run. The
    verdict speaks about `gamma`, or about gamma* when none is asked for. lambda is `damping` times the mean squared
    norm of a gradient, far more than the scores use: few rows in many dimensions know the curvature in their own span
    only, and with the scores' lambda the law called harmful what came from the very same distribution (for n' = 6 and
    D = 20,000, M(.5) / M(0) = 5,000 where .3 is true). Our reconstruction: the paper's own text of Prop. 4.2 could not
    be read. Raises ValueError below two rows of either kind.
    """
    if min(len(held_gradients), len(backbone_gradients)) < 2:
        raise ValueError("the error law needs two held-out references and two candidates at least")
    rows = torch.cat([held_gradients, backbone_gradients])
    # all that follows asks for single numbers of small matrices, which would be a wait for the device each
    products, size = to_host([(rows @ rows.T).double(), held_gradients.square().sum(1).mean()])
    gram = _Gram(products, len(held_gradients), damping * size.item(), n, m)
    alone = gram.error(0.0)
    curve = tuple((share, gram.error(share) / alone) for share in grid)
    gamma_star = min(curve, key=lambda point: point[1])[0]
    judged = gamma if gamma is not None else max(gamma_star, MIN_SHARE)
    ratio = gram.error(judged) / alone
    interval = _interval(gram, judged, resamples, seed)
    verdict: Verdict = "helps" if interval[1] < 1 else "harms" if interval[0] > 1 else "neutral"
    conditions = _conditions(gram, judged)
    return MixingReport(curve, gamma_star, _break_even(curve), judged, ratio, interval, verdict, *conditions)


@dataclass(frozen=True)
class _Gram:
    """Inner products of all gradients with the sizes that give them meaning; float64."""

    products: Tensor  # (N, N) = J J', on the CPU
    held: int  # n': rows of A, first
    damping: float
    n: int
    m: int

    @property
    def probed(self) -> int:
        return len(self.products) - self.held

    def weights(self, a: float, b: float) -> Tensor:
        """Return W (N, N), with which the curvature of a mixture with shares a and b is J'WJ + lambda I.

        References: the mean of g g'. Backbone: the *covariance*, scaled to the trace of the references. Where the data
        disagree, g g' holds the mismatch b b' and the larger residuals as well; neither is curvature, and taking them
        for it hides the very harm that the law is there to see (measured in linear regression: 6 times too little).
        """
        p = self.products
        w = torch.zeros_like(p)
        w[: self.held, : self.held].fill_diagonal_(a / self.held)
        _, spread = _mean_and_spread(p[self.held :, self.held :])
        trace = p.diagonal()[: self.held].mean().item()
        scale = b * trace / (spread * (self.probed - 1)) if spread > 0 else 0.0
        w[self.held :, self.held :].fill_diagonal_(scale).sub_(scale / self.probed)
        return w

    def inverse(self, a: float, b: float) -> Tensor:
        """Return (lambda I + W JJ')^-1, with which (J'WJ + lambda I)^-1 J'c = J' (inverse c)."""
        system = self.weights(a, b) @ self.products
        system.diagonal().add_(self.damping)
        return torch.linalg.inv(system)

    def metric(self, gamma: float) -> Tensor:
        """Return R with R_ij = g_i' P g_j, P = H^-1 H_A H^-1 and H the curvature of the mixture."""
        inverse = self.inverse(1 - gamma, gamma)
        references = self.products[:, : self.held]
        middle = references @ references.T / self.held + self.damping * self.products
        return inverse.T @ middle @ inverse

    def norm(self, inverse: Tensor, mean_of: slice) -> float:
        """Return ||H^-1 gbar||, gbar the mean gradient of the rows `mean_of`."""
        weights = inverse[:, mean_of].mean(1)
        return math.sqrt(max(0.0, (weights @ self.products @ weights).item()))

    def error(self, gamma: float, *, resampled: bool = False) -> float:
        """Return the estimate of M(gamma): variance of A, variance of B and the mismatch b'Pb.

        The mean gradient of B also holds the sampling noise of the m' probed rows and of the surrogate itself; both are
        taken out of the mismatch. A bootstrap sample (`resampled`) has the sampling noise twice and a narrower spread.
        """
        metric = self.metric(gamma)
        _, spread_a = _mean_and_spread(metric[: self.held, : self.held])
        square_b, spread_b = _mean_and_spread(metric[self.held :, self.held :])
        noise = spread_b / self.probed
        if resampled:
            spread_a *= self.held / (self.held - 1)
            spread_b *= self.probed / (self.probed - 1)
            noise = spread_b * (2 - 1 / self.probed) / self.probed
        v_a, v_b = spread_a / self.n, spread_b / self.m
        mismatch = max(square_b - noise - v_a, 0.0)
        return (1 - gamma) ** 2 * v_a + gamma**2 * (v_b + mismatch)

    def resample(self, generator: torch.Generator) -> _Gram:
        """Draw references and backbone rows again, with replacement."""
        a = torch.randint(self.held, (self.held,), generator=generator)
        b = torch.randint(self.probed, (self.probed,), generator=generator) + self.held
        index = torch.cat([a, b])
        return _Gram(self.products[index][:, index], self.held, self.damping, self.n, self.m)


def _mean_and_spread(block: Tensor) -> tuple[float, float]:
    """Return the mean of all entries (= gbar'P gbar) and Tr(Cov P), unbiased, of one diagonal block of the metric."""
    size, mean = len(block), block.mean().item()
    return mean, max(0.0, (block.trace().item() - size * mean) / (size - 1))


def _break_even(curve: Sequence[tuple[float, float]]) -> float:
    """Return the largest share before the law first rises above no mixing at all."""
    reached = curve[0][0]
    for share, ratio in curve[1:]:
        if ratio >= 1:
            break
        reached = share
    return reached


def _interval(gram: _Gram, gamma: float, resamples: int, seed: int) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of M(gamma) / M(0) over bootstrap samples of the gradients."""
    generator = torch.Generator().manual_seed(seed)
    ratios = []
    for _ in range(resamples):
        sample = gram.resample(generator)
        base = sample.error(0.0, resampled=True)
        if base > 0:  # every reference drawn was the same one: no variance to compare with
            ratios.append(sample.error(gamma, resampled=True) / base)
    if not ratios:
        return 0.0, math.inf
    values = torch.tensor(ratios, dtype=torch.float64)
    return values.quantile(0.05).item(), values.quantile(0.95).item()


def _conditions(gram: _Gram, gamma: float) -> tuple[Condition, float, Condition, Condition]:
    """Return Prop. 4.2 as R1, its expected right side, R3 and the sufficient one; Q = I, gbar are means of the rows."""
    a, b = slice(0, gram.held), slice(gram.held, None)
    mixture, only_a, only_b = gram.inverse(1 - gamma, gamma), gram.inverse(1, 0), gram.inverse(0, 1)
    realised = gram.norm(only_a, a)
    plain = only_a.T @ gram.products @ only_a  # g_i' H_A^-2 g_j
    _, spread = _mean_and_spread(plain[a, a])
    backbone, reference = gamma * gram.norm(mixture, b), (1 - gamma) * gram.norm(mixture, a)
    return (
        Condition(backbone, realised),
        math.sqrt(spread / gram.n),
        Condition((1 - gamma) * gram.norm(only_b, b), gram.norm(only_b, a)),
        Condition(backbone + reference, realised),
    )

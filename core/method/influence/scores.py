"""Influence scores: the estimated effect of a candidate on the reference loss.

Shapes: n examples, K draws of noise, D adapter parameters, flat.
Positive = beneficial: adding the candidate lowers the loss of the references that the surrogate has not seen.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from core.errors import InvalidInput
from core.method.backbones.backbone import Backbone, Batch, Draw, count, part_of, take
from core.method.influence.curvature import Curvature
from core.method.influence.gradients import as_adapter, chunks, per_sample_gradients
from core.method.lora.adapter import Adapter
from core.parameters.request import ScoreName
from core.parameters.schedule import CANDIDATES_AT_ONCE, GRADIENTS_AT_ONCE


class ScoreWarning(UserWarning):
    """Scores were computed, but something about them must be told to whoever reads them."""


@runtime_checkable
class DrawsTargets(Protocol):
    """A backbone that can replace the targets of a batch by draws from its own prediction (for the model Fisher)."""

    def with_model_targets(self, batch: Batch, draw: Draw, generator: torch.Generator) -> Batch:
        """Return the same inputs with targets drawn from the model, the adapter in use."""
        ...


def held_out_gradient(rows: Tensor, held: Sequence[int], trained: Sequence[int]) -> Tensor:
    """Return v (D,), the mean gradient of the references `held`; warn when the surrogate was trained on any of them.

    On its own training data the surrogate's gradient goes to zero and the scores to noise: with it, the Spearman
    correlation of scores with the true gain fell from .48 to .09. Raises ValueError when `held` is empty.
    """
    if not held:
        raise ValueError("the target gradient needs at least one held-out reference")
    seen = set(held) & set(trained)
    if seen:
        share = f"{len(seen)} of the {len(held)} references behind the target gradient"
        message = f"{share} were in the surrogate's training set, so the scores are mostly noise: hold some out."
        warnings.warn(message, ScoreWarning, stacklevel=2)
    return rows[list(held)].mean(0)


@dataclass(frozen=True)
class Scorer:
    """Everything of one fold that does not depend on a candidate; `score` may be called chunk by chunk."""

    backbone: Backbone
    adapter: Adapter
    mode: ScoreName
    target: Tensor  # v (D,)
    direction: Tensor  # u (D,)
    curvature: Curvature
    reference_loss: float
    seed: int

    def score(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return the score of every candidate for every draw (K, n)."""
        if self.mode in ("influence", "datainf"):
            direction = as_adapter(self.direction, self.adapter)
            return score_draws(self.backbone, self.adapter, direction, batch, draws)
        if self.mode == "random":
            return torch.rand(len(draws), count(batch), generator=torch.Generator().manual_seed(self.seed))
        rules = {"cosine": self._cosine, "kolossov_bartlett": self._kolossov_bartlett, "fisher_full": self._fisher_full}
        rule = rules[self.mode]
        pieces = chunks(count(batch), GRADIENTS_AT_ONCE)
        return torch.cat([rule(take(batch, i), [part_of(d, i) for d in draws]) for i in pieces], 1).float().cpu()

    def _cosine(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return cos(g, v), as LESS does (2402.04333) with a plain gradient."""
        return torch.cosine_similarity(self._rows(batch, draws), self.target, dim=-1)

    def _kolossov_bartlett(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return + g'(G + lambda I)^-1 g: Bartlett's identity plugged in per sample, with Q = H."""
        return self.curvature.quadratic(self._rows(batch, draws))

    def _fisher_full(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return Tr(H_c H^-1) - 1/2 g'H^-1 g: what the candidate can teach less half of its realised misfit.

        H_c is the model Fisher. Texts: g g' with the targets drawn from the model. Images have a squared loss, whose
        g g' is the Gauss-Newton matrix times the candidate's own residual, so g g' (reference loss / candidate loss)
        stands for H_c; the sign then says whether the candidate's loss is below twice the references' (our
        reconstruction, both).
        """
        misfit = self.curvature.quadratic(self._rows(batch, draws))
        if self.backbone.kind == "images":
            return (self.reference_loss / _mean_loss(self.backbone, self.adapter, batch, draws) - 0.5) * misfit
        return self.curvature.quadratic(self._rows(self._imagined(batch, draws[0]), draws)) - 0.5 * misfit

    def _imagined(self, batch: Batch, draw: Draw) -> Batch:
        assert isinstance(self.backbone, DrawsTargets)  # check_mode has seen to it
        generator = torch.Generator(device=self.backbone.device).manual_seed(self.seed)
        with torch.no_grad(), self.backbone.lora.use(self.adapter):
            return self.backbone.with_model_targets(batch, draw, generator)

    def _rows(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        rows = per_sample_gradients(self.backbone, self.adapter, batch, draws, per_draw=True).rows
        return rows.unflatten(0, (count(batch), len(draws))).transpose(0, 1)  # (K, n, D)


def scorer(
    backbone: Backbone,
    adapter: Adapter,
    references: Batch,
    draws: Sequence[Draw],
    *,
    held: Sequence[int],
    trained: Sequence[int],
    mode: ScoreName = "influence",
    damping: float = 0.1,
    pooled: bool = True,
    seed: int = 0,
) -> Scorer:
    """Prepare the scores of one fold: surrogate `adapter` (R=1), `held` and `trained` indices into `references`.

    v is the mean gradient of the held-out references; G comes from the references trained on, every draw a row. Raises
    InvalidInput where the backbone cannot give what the mode needs.
    """
    check_mode(backbone, mode)
    adapter = adapter.to(backbone.device)
    gradients = per_sample_gradients(backbone, adapter, references, draws, per_draw=True)
    rows = gradients.rows.unflatten(0, (count(references), len(draws)))
    v = held_out_gradient(rows.mean(1), held, trained)
    curvature = Curvature.of(rows[list(trained)].flatten(0, 1), gradients.blocks, damping, pooled=pooled)
    direction = curvature.solve(v) if mode == "influence" else curvature.datainf(v) if mode == "datainf" else v
    index = torch.tensor(list(held))
    unseen = [part_of(draw, index) for draw in draws]
    loss = _mean_loss(backbone, adapter, take(references, index), unseen).mean().item()
    return Scorer(backbone, adapter, mode, v, direction, curvature, loss, seed)


def check_mode(backbone: Backbone, mode: ScoreName) -> None:
    """Raise InvalidInput where `backbone` cannot score by `mode`; warn where the mode is known to mislead."""
    if mode == "fisher_full" and backbone.kind != "images" and not isinstance(backbone, DrawsTargets):
        message = "This backbone cannot draw targets from its own prediction, which score 'fisher_full' needs."
        raise InvalidInput(f"{message} Use score 'influence'.", code="score_unsupported", param="bat.score")
    if mode == "kolossov_bartlett":
        message = "Score 'kolossov_bartlett' prefers the largest gradients, so mislabelled and foreign data come first."
        warnings.warn(f"{message} Use it only on a pool known to be clean.", ScoreWarning, stacklevel=2)


def score_draws(
    backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draws: Sequence[Draw]
) -> Tensor:
    """Return <grad L(c), u> for every draw and candidate (K, n), on the CPU in float32. Positive = beneficial.

    Exact, and no gradient of a candidate is ever formed: one forward and one backward for a whole piece of the batch.
    """
    pieces = chunks(count(batch), CANDIDATES_AT_ONCE)
    rows = []
    for draw in draws:
        parts = [_slopes(backbone, adapter, direction, take(batch, i), part_of(draw, i)) for i in pieces]
        rows.append(torch.cat(parts))
    return torch.stack(rows).float().cpu()


def _slopes(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """L_i(theta + eps_i u): the gradient with respect to eps, at 0, is every sample's score at once (n,)."""
    epsilon = torch.zeros(count(batch), device=backbone.device, requires_grad=True)
    with torch.enable_grad(), backbone.lora.use(adapter), backbone.lora.tangent(direction, epsilon):
        (slopes,) = torch.autograd.grad(backbone.loss(batch, draw).sum(), epsilon)
    return slopes


def _mean_loss(backbone: Backbone, adapter: Adapter, batch: Batch, draws: Sequence[Draw]) -> Tensor:
    """Return the loss of every example, averaged over the draws (n,)."""
    with torch.no_grad(), backbone.lora.use(adapter):
        return torch.stack([backbone.loss(batch, draw) for draw in draws]).mean(0)

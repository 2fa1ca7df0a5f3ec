"""Influence scores: the estimated effect of a candidate on the reference loss.

Shapes: n examples, K draws of noise, D adapter parameters, flat.
Positive = beneficial: adding the candidate lowers the loss of the references that the surrogate has not seen.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from core.errors import InvalidInput
from core.method.backbones.backbone import Backbone, Batch, Draw, count, part_of, take
from core.method.backbones.shapes import extents, in_order, pieces
from core.method.influence.gradients import ROW_FLOATS, as_adapter, chunks, layout_of, per_sample_gradients, restricted
from core.method.influence.reference_rows import GroupedRows, Modules, Part, ReferenceRows, References, WholeRows
from core.method.lora.adapter import Adapter
from core.parameters.request import ScoreName
from core.parameters.schedule import CANDIDATES_AT_ONCE, GRADIENTS_AT_ONCE

REVISITED_FOR = 1024  # candidates scored in one call where each call computes the references' gradients again


class ScoreWarning(UserWarning):
    """Scores were computed, but something about them must be told to whoever reads them."""


@runtime_checkable
class DrawsTargets(Protocol):
    """A backbone that can replace the targets of a batch by draws from its own prediction (for the model Fisher)."""

    def with_model_targets(self, batch: Batch, draw: Draw, generator: torch.Generator) -> Batch:
        """Return the same inputs with targets drawn from the model, the adapter in use."""
        ...


def check_held_out(held: Sequence[int], trained: Sequence[int]) -> None:
    """Warn when the surrogate was trained on any of the references behind the target gradient.

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


@dataclass(frozen=True)
class Scorer:
    """Everything of one fold that does not depend on a candidate; `score` may be called chunk by chunk."""

    backbone: Backbone
    adapter: Adapter
    mode: ScoreName
    target: Tensor  # v (D,)
    direction: Tensor  # u (D,)
    rows: ReferenceRows | None  # those that the curvature is made of, in modes that need it for every candidate
    reference_loss: float
    seed: int

    @property
    def at_once(self) -> int:
        """How many candidates to score in one call: rows that every call computes anew want many of them."""
        return REVISITED_FOR if isinstance(self.rows, GroupedRows) else CANDIDATES_AT_ONCE

    def score(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return the score of every candidate for every draw (K, n)."""
        if self.mode in ("influence", "datainf"):
            direction = as_adapter(self.direction, self.adapter)
            return score_draws(self.backbone, self.adapter, direction, batch, draws)
        if self.mode == "random":
            return torch.rand(len(draws), count(batch), generator=torch.Generator().manual_seed(self.seed))
        rule = {"cosine": self._cosine, "kolossov_bartlett": self._quadratic, "fisher_full": self._fisher_full}
        return rule[self.mode](batch, draws).float().cpu()

    def _cosine(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return cos(g, v), as LESS does (2402.04333) with a plain gradient."""
        return torch.cat([torch.cosine_similarity(rows, self.target, dim=-1) for rows in self._rows(batch, draws)], 1)

    def _quadratic(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return + g'(G + lambda I)^-1 g: Bartlett's identity plugged in per sample, with Q = H."""
        assert self.rows is not None
        found: list[Tensor] = []

        def add(part: Part) -> None:
            pieces = self._rows(batch, draws, part.modules)
            found.append(torch.cat([part.curvature.quadratic(rows) for rows in pieces], 1))

        self.rows.visit(add)
        return torch.stack(found).sum(0)

    def _fisher_full(self, batch: Batch, draws: Sequence[Draw]) -> Tensor:
        """Return Tr(H_c H^-1) - 1/2 g'H^-1 g: what the candidate can teach less half of its realised misfit.

        H_c is the model Fisher. Texts: g g' with the targets drawn from the model. Images have a squared loss, whose
        g g' is the Gauss-Newton matrix times the candidate's own residual, so g g' (reference loss / candidate loss)
        stands for H_c; the sign then says whether the candidate's loss is below twice the references' (our
        reconstruction, both).
        """
        misfit = self._quadratic(batch, draws)
        if self.backbone.kind == "images":
            pieces = [(take(batch, i), [part_of(d, i) for d in draws]) for i in chunks(count(batch), GRADIENTS_AT_ONCE)]
            losses = torch.cat([_mean_loss(self.backbone, self.adapter, *piece) for piece in pieces])
            return (self.reference_loss / losses - 0.5) * misfit
        return self._quadratic(self._imagined(batch, draws[0]), draws) - 0.5 * misfit

    def _imagined(self, batch: Batch, draw: Draw) -> Batch:
        assert isinstance(self.backbone, DrawsTargets)  # check_mode has seen to it
        pieces: list[Batch] = []
        for i in chunks(count(batch), GRADIENTS_AT_ONCE):
            generator = torch.Generator(device=self.backbone.device).manual_seed(self.seed)
            with torch.no_grad(), self.backbone.lora.use(self.adapter):
                some = self.backbone.with_model_targets(take(batch, i), part_of(draw, i), generator)
            pieces.append(some)
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}

    def _rows(self, batch: Batch, draws: Sequence[Draw], modules: Modules | None = None) -> Iterator[Tensor]:
        """Yield the gradients of a few candidates (K, n, D) at a time, by some modules alone where these are named."""
        parameters = layout_of(restricted(self.adapter, modules))[-1].span.stop
        some = max(1, min(GRADIENTS_AT_ONCE, ROW_FLOATS // (parameters * len(draws))))
        for i in chunks(count(batch), some):
            piece, noise = take(batch, i), [part_of(draw, i) for draw in draws]
            found = per_sample_gradients(self.backbone, self.adapter, piece, noise, per_draw=True, modules=modules)
            yield found.rows.unflatten(0, (len(i), len(draws))).transpose(0, 1)


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
    groups: Sequence[Modules] = (),
) -> Scorer:
    """Prepare the scores of one fold: surrogate `adapter` (R=1), `held` and `trained` indices into `references`.

    v is the mean gradient of the held-out references; G comes from the references trained on, every draw a row. With
    `groups` of modules, only the gradients of one of them are held at a time. Raises InvalidInput where the backbone
    cannot give what the mode needs.
    """
    check_mode(backbone, mode)
    check_held_out(held, trained)
    adapter = adapter.to(backbone.device)
    shown = References(backbone, adapter, references, draws, held, trained, damping, pooled)
    rows: ReferenceRows = GroupedRows(shown, groups) if groups else WholeRows(shown)
    kept = rows if mode in ("kolossov_bartlett", "fisher_full") else None
    index = torch.tensor(list(held))
    unseen = [part_of(draw, index) for draw in draws]
    direction = _direction(rows, mode)
    loss = _mean_loss(backbone, adapter, take(references, index), unseen).mean().item()
    return Scorer(backbone, adapter, mode, rows.target, direction, kept, loss, seed)


def _direction(rows: ReferenceRows, mode: ScoreName) -> Tensor:
    """Return u (D,), the target gradient seen through the curvature; in modes without one, the target itself."""
    if mode not in ("influence", "datainf"):
        return rows.target
    u = torch.zeros_like(rows.target)

    def solve(part: Part) -> None:
        v = part.of(rows.target)
        part.put(part.curvature.solve(v) if mode == "influence" else part.curvature.datainf(v), u)

    rows.visit(solve)
    return u


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
    split = pieces(batch, CANDIDATES_AT_ONCE)
    rows = []
    for draw in draws:

        def slopes(i: Tensor, draw: Draw = draw) -> Tensor:
            return _slopes(backbone, adapter, direction, take(batch, i), part_of(draw, i))

        found = backbone.memory.each("score", split, slopes, lambda: extents(batch), key=adapter.rank)
        index, parts = zip(*found, strict=True)
        rows.append(in_order(parts, index))
    return torch.stack(rows).float().cpu()


def _slopes(backbone: Backbone, adapter: Adapter, direction: Adapter, batch: Batch, draw: Draw) -> Tensor:
    """L_i(theta + eps_i u): the gradient with respect to eps, at 0, is every sample's score at once (n,)."""
    epsilon = torch.zeros(count(batch), device=backbone.device, requires_grad=True)
    with torch.enable_grad(), backbone.lora.use(adapter), backbone.lora.tangent(direction, epsilon):
        (slopes,) = torch.autograd.grad(backbone.loss(batch, draw).sum(), epsilon)
    return slopes


def _mean_loss(backbone: Backbone, adapter: Adapter, batch: Batch, draws: Sequence[Draw]) -> Tensor:
    """Return the loss of every example, averaged over the draws (n,)."""

    def losses(index: Tensor) -> Tensor:
        part = take(batch, index)
        return torch.stack([backbone.loss(part, part_of(draw, index)) for draw in draws]).mean(0)

    with torch.no_grad(), backbone.lora.use(adapter):
        found = backbone.memory.each("evaluation", pieces(batch, count(batch)), losses, lambda: extents(batch))
        index, parts = zip(*found, strict=True)
    return in_order(parts, index)

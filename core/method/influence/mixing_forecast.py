"""The error law of one job, from its surrogates, its references and what was selected; only the card shows it."""

from __future__ import annotations

from collections.abc import Sequence

from core.method.backbones.backbone import Backbone, Batch, count
from core.method.influence.folds import ScoringFolds
from core.method.lora.adapter import Adapter
from core.method.mixing.error_law import MixingReport, error_law
from core.parameters.parameters import Parameters


def forecast_mixing(
    backbone: Backbone,
    surrogates: Adapter,
    held: Sequence[Sequence[int]],
    references: Batch,
    candidates: Batch,
    selected: Sequence[int],
    p: Parameters,
) -> MixingReport | None:
    """Estimate the error law from held-out references and selected candidates, cross-fitted; None with too few.

    `selected` are indices into `candidates`; they are spread over the folds, so each gradient is taken once.
    """
    folds = ScoringFolds.of(backbone, surrogates, held, references)
    if not folds.comparable(selected):
        return None
    allowed = max(4, folds.floats // folds.parameters) // 2  # a sample, where the gradients of all have no room
    mine = [thinned(part, max(1, allowed // len(folds.held))) for part in folds.held]
    others = thinned(selected, max(2, allowed))
    spread = [others[fold :: len(folds.held)] for fold in range(len(folds.held))]
    return error_law(
        folds.gradients(references, mine, p.draws_score, p.seed),
        folds.gradients(candidates, spread, p.draws_score, p.seed),
        n=count(references),
        m=len(selected),
        gamma=p.gamma if isinstance(p.gamma, float) else None,
        seed=p.seed,
    )


def thinned(indices: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the indices, evenly spread."""
    if len(indices) <= most:
        return list(indices)
    return [indices[at * len(indices) // most] for at in range(most)]

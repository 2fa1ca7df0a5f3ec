"""What one experiment is made of: a backbone, a few references, the pool behind it, and the truth kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch
from core.parameters.parameters import Parameters
from core.parameters.schedule import evaluation_grid

PoolKind = Literal["related", "unrelated", "shuffled"]


@dataclass(frozen=True)
class Setting:
    """Name one experiment; equal settings give equal results."""

    family: str
    set: str  # which references
    n: int
    learning_rate: float
    seed: int
    pool: PoolKind = "related"

    @property
    def key(self) -> str:
        """Return the name under which its records are kept."""
        return f"{self.family} {self.set} n={self.n} lr={self.learning_rate:g} {self.pool} seed={self.seed}"


@dataclass(frozen=True)
class World:
    """Hold everything that an experiment needs; the method never sees `heldout`, `right` and `shuffled`."""

    setting: Setting
    backbone: Backbone
    references: Batch
    heldout: Batch  # unseen data of the references' kind: the truth
    probe: Batch  # backbone data outside the pool: forgetting
    pool: Batch
    sources: tuple[str, ...]
    right: Tensor  # (c,) bool: candidates of the source that the references come from
    shuffled: Tensor  # (c,) bool: candidates whose labels were taken from another
    parameters: Parameters
    unrelated: Batch | None = None  # what the frozen backbone itself gives for prompts that no reference is about
    thinning: int = 1  # of the evaluation grid, where evaluations are slow
    kind: str | None = None  # what is taught, where the preset does not say it
    folder: Path | None = None  # where pictures for a person to look at are kept

    @property
    def horizon(self) -> int:
        """Return the steps that every run trains, in optimizer steps."""
        return self.parameters.max_steps

    @property
    def grid(self) -> list[int]:
        """Return the steps at which losses are evaluated, the first and the last among them."""
        return sorted({*evaluation_grid(self.horizon)[:: self.thinning], self.horizon})


def parameters(setting: Setting, **values: object) -> Parameters:
    """Return a job's parameters with this setting's seed and learning rate; `values` are the family's own."""
    usual: dict[str, object] = {
        "backbone": setting.family,
        "kind": "texts",
        "seed": setting.seed,
        "device_class": "cpu",
        "preset": "tone",
        "trigger": None,
        "augment": True,
        "gamma": "auto",
        "selected_count": 32,
        "pool": setting.family,
        "score": "influence",
        "sample_ratio": 1.0,
        "folds": 4,
        "rank": 4,
        "alpha": 8.0,
        "learning_rate": setting.learning_rate,
        "batch_size": 4,
        "max_steps": 200,
        "surrogate_steps": 200,
        "window": "auto",
        "interval": 1,
        "cs_semantics": "paper",
        "stop": "auto",
        "resolution": None,
        "max_tokens": None,
        "sample_prompts": (),
        "unrelated_prompts": (),
        "dropout_caption": 0.0,
        "draws_score": 1,
        "draws_eval": 1,
        "reasons": {},
    }
    return Parameters.model_validate(usual | values)

"""The surrogates as scores need them: one a fold, with the references that it has not seen and its share of the draws.

Shapes: F folds (one surrogate each), n references, D adapter parameters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from core.method.backbones.backbone import Backbone, Batch, Draw, count, take
from core.method.backbones.shapes import sizes_of
from core.method.influence.gradients import ROW_FLOATS, layout_of, module_groups, per_sample_gradients
from core.method.influence.reference_rows import Modules
from core.method.influence.scores import Scorer, ScoreWarning, scorer
from core.method.lora.adapter import Adapter
from core.method.memory.plan import row_floats
from core.parameters.parameters import Parameters
from core.parameters.schedule import TEXT_FOLDS

GROUPED = "they were computed for one group of modules after another"


@dataclass(frozen=True)
class Plan:
    """Which references speak for a fold, and the groups of modules that their gradients are computed in."""

    held: list[int]
    trained: list[int]
    groups: list[Modules]  # empty: the gradients of all modules are held at once


@dataclass
class ScoringFolds:
    """Hold the surrogates as the scores need them: one adapter a fold, on the backbone's device."""

    backbone: Backbone
    references: Batch
    adapters: list[Adapter]
    held: list[list[int]]  # reference indices that each surrogate has not seen
    notes: list[str] = field(default_factory=list)
    room: int | None = None  # floats of gradients that are held at once; None: as many as have room

    @classmethod
    def of(
        cls, backbone: Backbone, surrogates: Adapter, held: Sequence[Sequence[int]], references: Batch
    ) -> ScoringFolds:
        """Take a stack of surrogates apart, all of them for images and the first few for texts."""
        kept = len(held) if backbone.kind == "images" else min(len(held), TEXT_FOLDS)
        adapters = [surrogates.select(run).to(backbone.device) for run in range(kept)]
        return cls(backbone, references, adapters, [list(part) for part in held[:kept]])

    @property
    def everything(self) -> list[int]:
        return list(range(count(self.references)))

    @property
    def floats(self) -> int:
        """How many numbers of gradients are held at once."""
        return row_floats(self.backbone.memory.free, ROW_FLOATS) if self.room is None else self.room

    @property
    def parameters(self) -> int:
        """D, the numbers in one gradient."""
        return layout_of(self.adapters[0])[-1].span.stop

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Turn the scores' warnings into notes for the job, each once."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ScoreWarning)
            yield
        for warning in caught:
            if not issubclass(warning.category, ScoreWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
            elif str(warning.message) not in self.notes:
                self.notes.append(str(warning.message))

    def noise(self, fold: int, batch: Batch, p: Parameters) -> list[Draw]:
        """Return the fold's own share of the fixed draws, as many for every fold; each fold has at least one."""
        draws = self.backbone.fixed_draws(p.draws_score, count(batch), p.seed, **sizes_of(batch))
        share = max(1, len(draws) // len(self.held))
        return [draws[(fold + turn * len(self.held)) % len(draws)] for turn in range(share)]

    def plan(self, fold: int, p: Parameters, floats: int | None = None) -> Plan:
        """Return how one fold's gradients fit into memory, so many numbers of them at once: whole, or by groups.

        Whole where the gradients of all references fit, or where that was asked for; else of one group of modules after
        another, which gives the same scores however many groups there are.
        """
        asked = p.gradients if floats is None else "auto"  # what did not fit is not tried again
        floats = floats or self.floats
        draws = len(self.noise(fold, take(self.references, torch.arange(1)), p))
        held = self.held[fold] or self.everything
        trained = [i for i in self.everything if i not in self.held[fold]]
        fits = (len(held) + len(trained)) * draws * self.parameters <= floats
        whole = asked == "whole" or (asked == "auto" and fits)
        plan = Plan(held, trained, [] if whole else module_groups(self.adapters[fold], len(trained) * draws, floats))
        self._note(plan, draws)
        return plan

    def _note(self, plan: Plan, draws: int) -> None:
        """Tell what does not fit, once for all folds: each has all references, held out or trained on."""
        if len(plan.groups) <= 1 or any(GROUPED in note for note in self.notes):
            return
        size = f"{count(self.references) * draws * self.parameters * 4 / 2**30:.1f} GiB"
        self.notes.append(f"The gradients of all references would take {size} for a fold, so {GROUPED}.")

    def scorer(self, fold: int, p: Parameters) -> Scorer:
        """Prepare one fold's scores as `plan` says, by smaller groups of modules where their rows did not fit."""
        rows = (count(self.references) + len(self.held[fold])) * len(self.noise(fold, self.references, p))
        asked = rows * self.parameters
        asked = asked if p.gradients == "whole" else min(self.floats, asked)

        def ready(floats: int) -> Scorer:
            return self._scorer(fold, self.plan(fold, p, None if floats == asked else floats), p)

        largest = max(matrix[0].numel() for matrix in self.adapters[fold].parameters())
        return self.backbone.memory.fitted("rows", asked, ready, least=rows * largest)

    def _scorer(self, fold: int, plan: Plan, p: Parameters) -> Scorer:
        noise = self.noise(fold, self.references, p)
        with self.heard():
            return scorer(
                self.backbone,
                self.adapters[fold],
                self.references,
                noise,
                mode=p.score,
                seed=p.seed,
                held=plan.held,
                trained=plan.trained,
                groups=plan.groups,
            )

    def comparable(self, selected: Sequence[int]) -> bool:
        """Whether held-out references can be set against the selected candidates: two of each at least."""
        return all(self.held) and len(selected) >= 2 and sum(map(len, self.held)) >= 2

    def gradients(self, examples: Batch, parts: Sequence[Sequence[int]], draws: int, seed: int) -> Tensor:
        """Return the gradients (rows, D) of the examples `parts[f]` at surrogate f, averaged over the draws."""
        rows = []
        for adapter, part in zip(self.adapters, parts, strict=True):
            if part:
                batch = take(examples, torch.tensor(list(part)))
                noise = self.backbone.fixed_draws(draws, len(part), seed, **sizes_of(batch))
                rows.append(per_sample_gradients(self.backbone, adapter, batch, noise).rows)
        return torch.cat(rows)

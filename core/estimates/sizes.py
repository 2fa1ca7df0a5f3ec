"""How large a job is: the numbers that its cost follows from, of its parameters, its data, and where its stages end."""

from __future__ import annotations

from dataclasses import dataclass

from core.backbones.families import Kind
from core.parameters import schedule
from core.parameters.parameters import Parameters
from core.parameters.protection.means import Ground, Means

TYPICAL_SIDE = 512


@dataclass(frozen=True)
class JobSize:
    """The numbers of a job that its cost follows from; nothing that a person wrote."""

    kind: Kind
    rank: int
    batch_size: int
    folds: int
    surrogate_steps: int
    max_steps: int
    stretched: bool  # max_steps counts references, and replay makes it more
    learning_rate: float
    stop: str
    share: float  # of backbone data in a batch: what is asked for, or tried first
    tried: bool
    selected_count: int
    sample_ratio: float
    draws_score: int
    draws_eval: int
    scored: bool
    resolution: int | None
    max_tokens: int | None
    subject: int  # prompts
    unrelated: int
    extendable: bool = False  # surrogates go on where their loss still falls at the end of their budget
    tested: bool = False  # scoring ends early where its first part does not repeat
    protect: Means = "replay"  # the defaults are what jobs of older versions did
    protect_on: Ground = "pool"
    generates: bool = False  # the backbone makes the candidates itself

    @classmethod
    def of(cls, p: Parameters) -> JobSize:
        """Return the shape of a job with these parameters."""
        usual = schedule.usual_share(p.learns) if p.gamma_start is None else p.gamma_start
        share = usual if p.gamma in ("auto", "natural") else float(p.gamma)
        return cls(
            kind=p.kind,
            rank=p.rank,
            batch_size=p.batch_size,
            folds=p.folds,
            surrogate_steps=p.surrogate_steps,
            max_steps=p.max_steps,
            stretched="max_steps" in p.reasons,
            learning_rate=p.learning_rate,
            stop=p.stop,
            share=share if p.augment else 0.0,
            tried=p.augment and p.gamma == "auto",
            selected_count=p.selected_count,
            sample_ratio=p.sample_ratio,
            draws_score=p.draws_score,
            draws_eval=p.draws_eval,
            scored=p.selects and p.score != "random",
            resolution=p.resolution,
            max_tokens=p.max_tokens,
            subject=len(p.sample_prompts),
            unrelated=len(p.unrelated_prompts),
            extendable="surrogate_steps" in p.reasons,
            tested=p.selects and p.score != "random" and "sample_ratio" in p.reasons,
            protect=p.protect,
            protect_on=p.protect_on,
            generates=p.generates,
        )

    @property
    def area(self) -> float:
        """Units of one image; 1 for texts, whose units are tokens."""
        return (self.resolution / TYPICAL_SIDE) ** 2 if self.resolution else 1.0

    @property
    def size(self) -> tuple[int | None, int | None, int]:
        """The size of what the backbone makes itself, pixels of images or tokens of texts, and how many it makes."""
        return self.resolution, self.max_tokens, self.made

    @property
    def budget(self) -> int:
        """The steps that the final run has at most."""
        return schedule.step_budget(self.max_steps, self.share) if self.stretched else self.max_steps

    @property
    def surrogate_budget(self) -> int:
        """The steps that the surrogates have at most."""
        return self.folds_budget(0.0)

    @property
    def trial_budget(self) -> int:
        """The steps that one trial has at most."""
        return self.folds_budget(self.share)

    def folds_budget(self, share: float) -> int:
        """Return the steps that training all folds with such a share of backbone data has at most."""
        budget = schedule.step_budget(self.surrogate_steps, share)
        return schedule.extended(budget) if self.extendable else budget

    def protects(self, candidates: int) -> bool:
        """Tell whether slots of batches protect the backbone, where its pool has so many candidates."""
        return self.share > 0 and (self.protect_on != "pool" or candidates >= schedule.MIN_CANDIDATES)

    @property
    def makes(self) -> bool:
        """Whether samples of the backbone's own protect it, which it has to make first."""
        return self.share > 0 and (self.protect_on == "own" or self.generates)

    @property
    def made(self) -> int:
        """How many samples of its own the backbone makes for such jobs."""
        return schedule.GENERATED if self.generates else schedule.OWN_SAMPLES

    @property
    def distilled(self) -> float:
        """The share of a batch that is held to the frozen network's prediction."""
        return self.share if self.protect in ("distil", "both") else 0.0

    def passes(self, stage: str) -> float:
        """Return what a sample of a stage's steps takes, in those of a step without protection, on average.

        Those that are held to the frozen network's prediction go through it too.
        """
        return 1 + schedule.FROZEN_PASS * self.distilled if stage in ("trial", "train") else 1.0


@dataclass(frozen=True)
class DataSize:
    """How much there is to learn from; lengths are tokens of some or all texts, empty for images."""

    references: int
    candidates: int = 0
    probe: int = 0
    validation: int = 0
    lengths: tuple[float, ...] = ()
    candidate_lengths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Steps:
    """The optimizer steps of each stage that takes any, and how probably scoring ends after its first part."""

    surrogate: int
    trial: int
    train: int
    unscored: float = 0.0  # 0 or 1 of a job that has run

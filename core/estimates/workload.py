"""What a job will compute, counted from its parameters before it runs: calls and units of each kind, stage by stage.

A unit is a sample of 512 pixels a side for images, and a token, padding included, for texts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.parameters import schedule
from core.parameters.parameters import Parameters

STEPPED = ("surrogate", "trial", "train")
TYPICAL_SIDE = 512
TYPICAL_LENGTH = 64  # tokens of a text of which nothing is known
MAX_SAMPLED_LENGTHS = 50  # that stand for those of all texts
COPIES = 9  # steps that export samples: before training, the gallery's seven, and one that a rule names


@dataclass(frozen=True)
class JobSize:
    """The numbers of a job that its cost follows from; nothing that a person wrote."""

    kind: str
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
            scored=p.augment and p.score != "random",
            resolution=p.resolution,
            max_tokens=p.max_tokens,
            subject=len(p.sample_prompts),
            unrelated=len(p.unrelated_prompts),
            extendable="surrogate_steps" in p.reasons,
            tested=p.augment and p.score != "random" and "sample_ratio" in p.reasons,
        )

    @property
    def area(self) -> float:
        """Units of one image; 1 for texts, whose units are tokens."""
        return (self.resolution / TYPICAL_SIDE) ** 2 if self.resolution else 1.0

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

    def replays(self, candidates: int) -> bool:
        """Tell whether a pool of so many candidates is used."""
        return self.share > 0 and candidates >= schedule.MIN_CANDIDATES


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


@dataclass(frozen=True)
class Amount:
    """Work of one kind in one stage; `size` is the units of one call and `runs` the adapters that train in it."""

    calls: float
    size: float
    runs: int = 1


Workload = Mapping[str, Mapping[str, Amount]]


def workload(shape: JobSize, data: DataSize, steps: Steps, *, pool_encoded: bool = True) -> Workload:
    """Return the work of every stage."""
    counting = _Counting(shape, data)
    replays = shape.replays(data.candidates)
    encoded = data.references + data.validation
    if not pool_encoded and shape.share > 0:
        encoded += data.candidates + data.probe
    return {
        "prepare": {"load": Amount(1, 1), "encode": Amount(1, encoded * shape.area)},
        "surrogate": counting.folds(steps.surrogate, shape.surrogate_budget, 0.0),
        "score": counting.scores(steps.unscored) if replays and shape.scored else {},
        "trial": counting.folds(steps.trial, shape.trial_budget, shape.share) if steps.trial and replays else {},
        "train": counting.final(steps.train, shape.share if replays else 0.0),
        "export": {"sample": counting.samples()} | ({"gradient": counting.law()} if replays else {}),
    }


def longest(lengths: Sequence[float], amount: float, others: Sequence[float] = (), more: float = 0.0) -> float:
    """Return the expected longest of `amount` texts drawn from one set of lengths and `more` from another."""
    known = sorted({*lengths, *others} if more else set(lengths))
    expected, before = 0.0, 0.0
    for length in known:
        below = _share(lengths, length) ** amount * (_share(others, length) ** more if more else 1.0)
        expected, before = expected + length * (below - before), below
    return expected


def thinned(lengths: Sequence[float]) -> tuple[float, ...]:
    """Return a few lengths that stand for many, each the mean of its neighbours in order: their mean is that of all.

    What `longest` takes grows with the square of their number.
    """
    if len(lengths) <= MAX_SAMPLED_LENGTHS:
        return tuple(lengths)
    ordered = sorted(lengths)
    edges = [at * len(lengths) // MAX_SAMPLED_LENGTHS for at in range(MAX_SAMPLED_LENGTHS + 1)]
    means = [sum(ordered[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    factor = (
        sum(ordered) / len(ordered) / (sum(means) / MAX_SAMPLED_LENGTHS) if means[-1] else 1.0
    )  # groups differ by one
    return tuple(factor * mean for mean in means)


def _share(lengths: Sequence[float], most: float) -> float:
    return sum(length <= most for length in lengths) / len(lengths) if lengths else 1.0


class _Counting:
    """Counts the passes of one job."""

    def __init__(self, shape: JobSize, data: DataSize) -> None:
        self.shape, self.data = shape, data
        most = float(shape.max_tokens or TYPICAL_LENGTH)
        usual = (min(TYPICAL_LENGTH, most),)
        self.lengths = tuple(min(length, most) for length in data.lengths) or usual
        self.others = tuple(min(length, most) for length in data.candidate_lengths) or usual

    def width(self, references: float, candidates: float = 0.0) -> float:
        """Return the units that one sample takes in a pass with so many of both."""
        if self.shape.kind == "images":
            return self.shape.area
        return longest(self.lengths, references, self.others, candidates)

    def step(self, steps: int, runs: int, share: float) -> Amount:
        samples = runs * self.shape.batch_size
        return Amount(steps, samples * self.width(samples * (1 - share), samples * share), runs)

    def evaluation(self, examples: int, runs: int, *, candidates: bool = False) -> float:
        """Return the units of one evaluation."""
        together = min(examples, max(1, schedule.EVALUATED_AT_ONCE // runs))
        width = self.width(0, together) if candidates else self.width(together)
        return examples * runs * self.draws(self.shape.draws_eval) * width

    def draws(self, asked: int) -> int:
        return asked if self.shape.kind == "images" else 1

    def folds(self, steps: int, budget: int, share: float) -> dict[str, Amount]:
        """Count training all folds in one stack."""
        runs = self.shape.folds
        grid, again = schedule.evaluation_grid(budget), max(0, steps - budget)  # a second trial
        times = sum(at <= steps for at in grid) + sum(at <= again for at in grid[1:] if again)
        return {
            "step": self.step(steps, runs, share),
            "evaluation": Amount(times, self.evaluation(self.data.references, runs), runs),
        }

    def final(self, steps: int, share: float) -> dict[str, Amount]:
        """Count the final run: references on the whole grid, probe and validation on a third of it."""
        grid = schedule.evaluation_grid(self.shape.budget)
        kept = {round(steps / schedule.LOOK_AHEAD ** (place / (COPIES - 2))) for place in range(COPIES - 1)}
        often, rare = (
            len({at for at in some if at <= steps} | kept) for some in (grid, grid[:: schedule.WATCHED_EVERY])
        )
        parts = [(often, self.evaluation(self.data.references, 1))]
        if self.data.probe:
            probe = min(self.data.probe, schedule.PROBE_EXAMPLES)
            parts.append((rare, self.evaluation(probe, 1, candidates=True)))
        if self.data.validation:
            parts.append((rare, self.evaluation(self.data.validation, 1)))
        calls = sum(times for times, _ in parts)
        units = sum(times * size for times, size in parts)
        return {"step": self.step(steps, 1, share), "evaluation": Amount(calls, units / calls)}

    def scores(self, unscored: float) -> dict[str, Amount]:
        """Count the passes over the pool, and the gradients of references, which are taken anew for the rest of it.

        `unscored` is the probability that there is no rest to score.
        """
        shape, data = self.shape, self.data
        draws, folds = self.draws(shape.draws_score), self.scoring_folds
        passes = folds * max(1, draws // folds)
        whole = max(1, math.ceil(shape.sample_ratio * data.candidates))
        first = schedule.first_part(whole) if shape.tested else whole
        sampled = round(whole - unscored * (whole - first))
        times = 2 - unscored if first < whole else 1
        together = min(sampled, schedule.CANDIDATES_AT_ONCE)
        width = self.width(min(schedule.GRADIENTS_AT_ONCE, data.references))
        chunk = schedule.GRADIENTS_AT_ONCE * width
        return {
            "score": Amount(passes * sampled / together, together * self.width(0, together)),
            "gradient": Amount(times * data.references * passes * width / chunk, chunk),
        }

    def law(self) -> Amount:
        """Count the gradients of references and selected candidates behind the card's error law."""
        shape, data, draws = self.shape, self.data, self.draws(self.shape.draws_score)
        selected = min(shape.selected_count, data.candidates)
        together = [
            max(1, min(schedule.GRADIENTS_AT_ONCE, n // self.scoring_folds)) for n in (data.references, selected)
        ]
        units = draws * (data.references * self.width(together[0]) + selected * self.width(0, together[1]))
        chunk = schedule.GRADIENTS_AT_ONCE * self.width(together[0])
        return Amount(units / chunk, chunk)

    @property
    def scoring_folds(self) -> int:
        """How many surrogates score."""
        return self.shape.folds if self.shape.kind == "images" else min(self.shape.folds, schedule.TEXT_FOLDS)

    def samples(self) -> Amount:
        """Count the pictures, or the answers, that export draws."""
        shape = self.shape
        if shape.kind == "texts":
            asked = shape.subject + shape.unrelated + min(schedule.HELD_OUT_ASKED, self.data.validation)
            listened = 2 * min(schedule.LISTENED, self.data.references)  # a shape is asked of surrogates too
            return Amount(COPIES, asked + listened / COPIES)
        if not shape.subject:
            return Amount(0, 0)
        prompts = (shape.subject, schedule.PICTURES), (shape.unrelated, schedule.UNRELATED_PICTURES)
        drawn = sum(count * math.ceil(least / count) for count, least in prompts if count)
        return Amount(2 * COPIES, drawn / 2 * shape.area)

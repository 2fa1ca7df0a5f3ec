"""What a job will compute, counted from its parameters before it runs: calls and units of each kind, stage by stage.

A unit is a sample of 512 pixels a side for images, and a token, padding included, for texts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.estimates.sizes import DataSize, JobSize, Steps
from core.parameters import schedule

STEPPED = ("surrogate", "trial", "train")
TYPICAL_LENGTH = 64  # tokens of a text of which nothing is known
MAX_SAMPLED_LENGTHS = 50  # that stand for those of all texts
COPIES = 9  # steps that export samples: before training, the gallery's seven, and one that a rule names


@dataclass(frozen=True)
class Amount:
    """Work of one kind in one stage; `size` is the units of one call and `runs` the adapters that train in it."""

    calls: float
    size: float
    runs: int = 1


Workload = Mapping[str, Mapping[str, Amount]]


def workload(
    shape: JobSize, data: DataSize, steps: Steps, *, pool_encoded: bool = True, samples_made: bool = True
) -> Workload:
    """Return the work of every stage."""
    counting = _Counting(shape, data)
    protects = shape.protects(data.candidates)
    selects = protects and shape.protect_on == "pool"
    return {
        "prepare": counting.preparing(pool_encoded, samples_made),
        "surrogate": counting.folds("surrogate", steps.surrogate, shape.surrogate_budget, 0.0),
        "score": counting.scores(steps.unscored) if selects and shape.scored else {},
        "trial": counting.tried(steps.trial) if steps.trial and protects else {},
        "train": counting.final(steps.train, shape.share if protects else 0.0),
        "export": {"sample": counting.samples()} | ({"gradient": counting.law()} if selects else {}),
    }


def distilled(shape: JobSize, work: Workload) -> tuple[Amount, float]:
    """Return one step of the trial, or of the final run where nothing is tried, without its frozen passes, and how
    many of its units are held to the frozen network's prediction.
    """
    stage = "trial" if "step" in work["trial"] else "train"
    step = work[stage]["step"]
    size = step.size / shape.passes(stage)
    return Amount(step.calls, size, step.runs), size * shape.distilled


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

    def preparing(self, pool_encoded: bool, samples_made: bool) -> dict[str, Amount]:
        """Count loading and encoding, and the samples that a backbone makes where it has not made them yet."""
        shape, data = self.shape, self.data
        encoded = data.references + data.validation
        if not pool_encoded and shape.share > 0:
            encoded += data.probe + (data.candidates if shape.protect_on == "pool" else 0)
        work = {"load": Amount(1, 1), "encode": Amount(1, encoded * shape.area)}
        if shape.makes and not samples_made:
            work["sample"] = Amount(shape.made, shape.area)
        return work

    def step(self, stage: str, steps: int, runs: int, share: float) -> Amount:
        samples = runs * self.shape.batch_size
        passes = self.shape.passes(stage) if share else 1.0
        return Amount(steps, passes * samples * self.width(samples * (1 - share), samples * share), runs)

    def evaluation(self, examples: int, runs: int, *, candidates: bool = False) -> float:
        """Return the units of one evaluation."""
        together = min(examples, max(1, schedule.EVALUATED_AT_ONCE // runs))
        width = self.width(0, together) if candidates else self.width(together)
        return examples * runs * self.draws(self.shape.draws_eval) * width

    def draws(self, asked: int) -> int:
        return asked if self.shape.kind == "images" else 1

    def folds(self, stage: str, steps: int, budget: int, share: float) -> dict[str, Amount]:
        """Count training all folds in one stack."""
        runs = self.shape.folds
        grid, again = schedule.evaluation_grid(budget), max(0, steps - budget)  # a second trial
        times = sum(at <= steps for at in grid) + sum(at <= again for at in grid[1:] if again)
        return {
            "step": self.step(stage, steps, runs, share),
            "evaluation": Amount(times, self.evaluation(self.data.references, runs), runs),
        }

    def tried(self, steps: int) -> dict[str, Amount]:
        """Count training all folds with what protects, and how far both stacks leave what the backbone knew."""
        work = self.folds("trial", steps, self.shape.trial_budget, self.shape.share)
        if self.data.probe:
            probe = self.evaluation(min(self.data.probe, schedule.PROBE_EXAMPLES), self.shape.folds, candidates=True)
            told = work["evaluation"]
            calls = told.calls + 2
            work["evaluation"] = Amount(calls, (told.calls * told.size + 2 * probe) / calls, told.runs)
        return work

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
        return {"step": self.step("train", steps, 1, share), "evaluation": Amount(calls, units / calls)}

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

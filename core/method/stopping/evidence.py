"""What K-fold surrogates know about stopping: how the references are split into folds, and the held-out evidence.

K surrogates train in lockstep on A without fold f. T_f is the loss on the references a surrogate saw, H_f on those it
did not. The step t* where H is lowest and the level rho = T(t*)/T(0) reached there are all the final run needs.
None of this is in the papers: it is our own rule, measured on toys and on the emoji backbone.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from core.method.backbones.backbone import IGNORED
from core.parameters.schedule import EARLIEST_STOP, PATIENCE

Confidence = Literal["high", "medium", "low"]

# What confidence asks for: our choice.
MIN_REFERENCES = 4  # with fewer it is always low
CONFIDENT_REFERENCES = 8  # with fewer it is never high
LOW_GAIN = 0.02  # relative improvement below which it is low
CLEAR_GAIN = 3.0  # standard errors that the improvement must be worth for it to be high
SOON = 3  # steps within which a best step is too early to be told precisely
SAME_IMAGE = 0.15  # relative distance of two latents; our choice: re-encodings lie below .1, other pictures above .5
SAME_TEXT = 0.8  # share of the trigrams of learned tokens in common
TELLING_TOKENS = 32  # learned tokens, with fewer of which answers to two questions are no copies; our choice


def folds(count: int, parts: int, seed: int, groups: Sequence[int] | None = None) -> list[list[int]]:
    """Split 0..count-1 into at most `parts` held-out folds, keeping every group (near-duplicates) in one fold."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups or range(count)):
        members.setdefault(group, []).append(index)
    order = list(members.values())
    random.Random(seed).shuffle(order)
    order.sort(key=len, reverse=True)  # large groups first keeps the folds even; stable, so singles stay shuffled
    result: list[list[int]] = [[] for _ in range(min(parts, len(order)))]
    for group_members in order:
        min(result, key=len).extend(group_members)
    return [sorted(fold) for fold in result]


def near_duplicate_references(batch: Mapping[str, Tensor]) -> list[int]:
    """Return a group number per reference; near-duplicates share one (single linkage).

    Pictures are compared by the relative distance of their latents, texts by the trigrams of learned tokens that they
    share (see `_alike_tokens`); every pair is looked at, so this is for references, not for pools (see
    `near_duplicates_by_cosine`).
    """
    count = len(next(iter(batch.values())))
    groups = list(range(count))
    alike = _alike_latents(batch["mean"]) if "mean" in batch else _alike_tokens(batch)
    for first, second in alike:
        old, new = groups[second], groups[first]
        groups = [new if group == old else group for group in groups]
    return groups


def _alike_latents(latents: Tensor) -> list[tuple[int, int]]:
    flat = latents.flatten(1).float()
    scale = flat.norm(dim=1).clamp_min(1e-12)
    distance = torch.cdist(flat, flat) / torch.maximum(scale[:, None], scale[None, :])
    return [(int(i), int(j)) for i, j in (distance < SAME_IMAGE).triu(1).nonzero()]


def _alike_tokens(batch: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    """Return the pairs of texts of which nearly the same is learned; what is only read before it makes none.

    A system prompt that all texts share says nothing about them. Where more than that differs, which is the question,
    two answers are copies only if they say enough, for "yes" or the name of a class is right for many questions; and
    if they also share what most answers have not in common, for the keys of a JSON object are in all of them.
    """
    texts = [_Text.of(*row) for row in zip(*(batch[name].tolist() for name in _NAMES), strict=True)]
    counted = Counter(gram for text in texts for gram in text.trigrams) if len(texts) >= MIN_REFERENCES else {}
    usual = frozenset(gram for gram, count in counted.items() if 2 * count > len(texts))
    pairs = ((i, j) for i in range(len(texts)) for j in range(i + 1, len(texts)))
    return [(i, j) for i, j in pairs if texts[i].like(texts[j], usual)]


_NAMES = ("input_ids", "labels", "attention_mask")
Trigrams = frozenset[tuple[int, ...]]


@dataclass(frozen=True)
class _Text:
    """What two texts are compared by: the number of learned tokens, their trigrams, and the tokens only read."""

    length: int
    trigrams: Trigrams
    read: tuple[int, ...]

    @classmethod
    def of(cls, ids: Sequence[int], labels: Sequence[int], mask: Sequence[int]) -> _Text:
        tokens = [token for token, label, kept in zip(ids, labels, mask, strict=True) if kept and label != IGNORED]
        read = [token for token, label, kept in zip(ids, labels, mask, strict=True) if kept and label == IGNORED]
        grams = frozenset(tuple(tokens[at : at + 3]) for at in range(max(1, len(tokens) - 2)))
        return cls(len(tokens), grams, tuple(read))

    def like(self, other: _Text, usual: Trigrams) -> bool:
        if not _share(self.trigrams, other.trigrams):
            return False
        telling = min(self.length, other.length) >= TELLING_TOKENS
        return self.read == other.read or (telling and _share(self.trigrams - usual, other.trigrams - usual))


def _share(first: Trigrams, second: Trigrams) -> bool:
    return len(first & second) >= SAME_TEXT * len(first | second)


@dataclass(frozen=True)
class Evidence:
    """Say what the held-out references showed: where to stop, how far to fit, and what to expect."""

    best_step: int  # t*
    level: float  # rho: T(t*) / T(0)
    gain: float  # g: expected relative improvement on unseen data at t*
    standard_error: float  # sd of g over folds / sqrt(K); 0 with one fold
    confidence: Confidence
    at_end: bool  # held-out loss was lowest at one of the newest two evaluations when the surrogates' budget ended
    scale: float = 1.0  # of the final run's steps to the surrogates': n references for the fewer that each of them saw
    ended: int | None = None  # the surrogates' last step; None: t* itself

    @property
    def range(self) -> tuple[int, int]:
        """Return the steps t*/2 .. 2t*, which held the true optimum in 69 % of the study's runs."""
        return max(1, self.best_step // 2), 2 * self.best_step

    def sentence(self) -> str:
        """Say it to a person."""
        text = (
            f"{self._expected()} +- {100 * self.standard_error:.1f}, {self._where()}; confidence {self.confidence}. A "
            "lower loss does not say how the samples look or read."
        )
        if self.gain - self.standard_error <= 0 or self.gain < LOW_GAIN:
            text += " The references do not show a clear benefit: add some."
        elif self.confidence == "low":
            text += f" With fewer than {MIN_REFERENCES} references it is never more: add some."
        if self.helps and not self.at_end and self.best_step <= SOON:
            text += f" It came within {SOON} steps: with a lower learning rate a run can be stopped more precisely."
        return text

    @property
    def helps(self) -> bool:
        """Tell whether held-out references were better at t* than before training."""
        return self.gain > 0

    def _expected(self) -> str:
        if self.helps:
            return f"Expected improvement of the loss on unseen data {100 * self.gain:.1f} %"
        return f"No improvement of the loss on unseen data is expected: it got worse by {-100 * self.gain:.1f} %"

    def _where(self) -> str:
        if self.at_end:
            ended = self.best_step if self.ended is None else self.ended
            return (
                f"reached at the surrogates' step {self.best_step} of {ended} (budget reached: their held-out loss had "
                "not clearly turned up)"
            )
        best = "best" if self.helps else "least"
        return f"{best} near the surrogates' step {self.best_step} (range {self.range[0]} to {self.range[1]})"


@dataclass
class SurrogateCurves:
    """Collect T and H of every fold on the evaluation grid and judge them."""

    folds: tuple[tuple[int, ...], ...]  # held-out reference indices, one tuple per surrogate
    gamma: float = 0.0  # the share of backbone data in the surrogates' batches
    steps: list[int] = field(default_factory=list)
    seen: list[tuple[float, ...]] = field(default_factory=list)  # T_f of every fold, one row per evaluation
    held_out: list[tuple[float, ...]] = field(default_factory=list)  # H_i of every reference, in their order

    def add(self, step: int, losses: Tensor) -> None:
        """Take the per-reference losses (K, n) of all surrogates at one step."""
        rows = losses.tolist()
        held = {i: row[i] for row, fold in zip(rows, self.folds, strict=True) for i in fold}
        kept = [[x for i, x in enumerate(row) if i not in fold] for row, fold in zip(rows, self.folds, strict=True)]
        self.steps.append(step)
        self.seen.append(tuple(_mean(values) for values in kept))
        self.held_out.append(tuple(held[i] for i in sorted(held)))

    @property
    def holds_out(self) -> bool:
        """Tell whether there is any held-out reference at all (one reference alone leaves none)."""
        return all(self.folds)

    def mean_seen(self, at: int = -1) -> float:
        """Return T averaged over surrogates at one evaluation."""
        return _mean(self.seen[at])

    def mean_held_out(self, at: int = -1) -> float | None:
        """Return H averaged over all held-out references at one evaluation."""
        if not self.holds_out:
            return None
        return _mean(self.held_out[at])

    def smoothed(self) -> list[float]:
        """Return the centred 3-point mean of H over the grid."""
        raw = [self.mean_held_out(at) or 0.0 for at in range(len(self.steps))]
        return [_mean(raw[max(0, at - 1) : at + 2]) for at in range(len(raw))]

    def best(self) -> int | None:
        """Return the index of t* on the grid so far: the smoothed minimum, after at least one step."""
        if not self.holds_out or len(self.steps) < 2:
            return None
        curve = self.smoothed()
        return min(range(1, len(curve)), key=curve.__getitem__)

    def promising(self) -> set[int]:
        """Return the steps that may yet turn out to be t*: the newest values of the smoothed curve still change."""
        if not self.holds_out or len(self.steps) < 2:
            return set(self.steps[-2:])
        curve = self.smoothed()
        settled = min(range(1, len(curve)), key=lambda at: (at == len(curve) - 1, curve[at]))
        return {self.steps[settled], *self.steps[-2:]}

    @property
    def at_best(self) -> tuple[float, ...] | None:
        """Return H_i of every reference around t* (the mean of three evaluations), None where nothing is held out."""
        best = self.best()
        if best is None:
            return None
        near = self.held_out[max(0, best - 1) : best + 2]
        return tuple(_mean(losses) for losses in zip(*near, strict=True))

    @property
    def turned(self) -> bool:
        """Tell whether held-out loss has clearly turned up, so that training surrogates further is pointless."""
        best = self.best()
        return best is not None and self.steps[-1] >= max(EARLIEST_STOP, PATIENCE * self.steps[best])

    def evidence(self) -> Evidence | None:
        """Return what the curves show, or None where nothing could be held out."""
        best = self.best()
        if best is None:
            return None
        start, there = self._by_fold(0), self._by_fold(best)
        gains = [(a - b) / a for a, b in zip(start, there, strict=True)]
        error = _deviation(gains) / math.sqrt(len(gains))
        gain = _mean(gains)
        level = _mean([now / before for now, before in zip(self.seen[best], self.seen[0], strict=True)])
        confidence = self._confidence(gain, error)
        falling, scale = self.falling, self._scale()
        return Evidence(self.steps[best], level, gain, error, confidence, falling, scale, self.steps[-1])

    @property
    def falling(self) -> bool:
        """Tell whether held-out loss is lowest at one of the newest two evaluations: it has not turned yet."""
        best = self.best()
        return best is not None and best >= len(self.steps) - 2

    def _scale(self) -> float:
        """Return n / (n - n/K), for folds of any size: what a surrogate saw was that much less."""
        references = sum(map(len, self.folds))
        return references / _mean([references - len(fold) for fold in self.folds])

    def _by_fold(self, at: int) -> list[float]:
        """Return H_f, the mean over every fold, at one evaluation."""
        return [_mean([self.held_out[at][i] for i in fold]) for fold in self.folds]

    def _confidence(self, gain: float, error: float) -> Confidence:
        references = sum(map(len, self.folds))
        if references < MIN_REFERENCES or gain - error <= 0 or gain < LOW_GAIN:
            return "low"
        clear = references >= CONFIDENT_REFERENCES and gain >= CLEAR_GAIN * error
        return "high" if clear and not self.falling else "medium"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(values: Sequence[float]) -> float:
    """Return the sample standard deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

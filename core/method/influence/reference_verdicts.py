"""What each of the user's own references does among the others: it fits, does not belong, or is there twice.

The surrogates give it for nothing: when the fold of reference i is held out, the loss on i before and after training
on the others says what the others teach about it. To first order that is also what i teaches about them, because the
inner product of two gradients has no direction; so it stands for leave-one-out retraining. How often a planted stranger
is found so, and others accused, `python -m benchmarks.claims` counts (docs/evidence.md). Our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from core.method.stopping.evidence import SurrogateCurves

ReferenceVerdict = Literal["helps", "doubtful", "hurts", "duplicate", "unknown"]
DOUBTED = 0.4  # share of the median below which a reference stands out; our choice


@dataclass(frozen=True)
class OwnReference:
    """Hold what is known of one reference."""

    index: int
    learnt: float | None  # share of its loss that training on the others takes away, at t*; None: never held out
    usual: float | None  # the median of that share over all references
    twins: tuple[int, ...]  # near-duplicates of it
    verdict: ReferenceVerdict

    def sentence(self, names: Sequence[str]) -> str:
        """Say it to a person; `names` are those of all references, in order."""
        name = names[self.index]
        if self.verdict == "duplicate":
            others = " and ".join(names[i] for i in self.twins)
            return f"{name} teaches nearly the same as {others}; one of them is enough."
        if self.learnt is None:
            return f"{name} was never held out, so nothing is known of it."
        if self.verdict == "hurts":
            worse = f"makes it {_share(-self.learnt)} worse" if self.learnt < 0 else "does not help it at all"
            if self.usual is not None and self.usual <= 0:
                return f"{name}: what the others teach {worse}, and so it is with at least half of all references."
            return f"{name} may not belong: what the others teach {worse}, as happens to some that do. Look at it."
        if self.verdict == "doubtful":
            return (
                f"{name} fits less than the rest: the others take {_share(self.learnt)} of its loss away, where "
                f"{_share(self.usual or 0.0)} is usual. Look at it."
            )
        return f"{name} fits: the others alone take {_share(self.learnt)} of its loss away."


def judge_references(groups: Sequence[int], curves: SurrogateCurves) -> list[OwnReference]:
    """Return what each reference does; `groups` numbers near-duplicates alike, `curves` are the plain surrogates'."""
    learnt, judged = curves.learnt, []
    usual = median(learnt) if learnt else None
    for i, group in enumerate(groups):
        twins = tuple(other for other, its in enumerate(groups) if its == group and other != i)
        own = learnt[i] if learnt else None
        judged.append(OwnReference(i, own, usual, twins, _verdict(own, usual, any(twin < i for twin in twins))))
    return judged


def _share(value: float) -> str:
    """Write a share; a small one is not rounded to nothing."""
    return f"{value:.0%}" if value >= 0.01 else f"{100 * value:.1g}%"


def _verdict(learnt: float | None, usual: float | None, repeated: bool) -> ReferenceVerdict:
    if repeated:
        return "duplicate"
    if learnt is None or usual is None:
        return "unknown"
    if learnt <= 0:
        return "hurts"
    return "doubtful" if learnt < DOUBTED * usual else "helps"

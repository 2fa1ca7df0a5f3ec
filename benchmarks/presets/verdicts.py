"""What one picture or answer came to, and what many of them come to together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev


@dataclass(frozen=True)
class Verdict:
    """A score in 0..1, whether a person would accept it, and each check that led to both."""

    score: float
    accepted: bool
    checks: Mapping[str, float]


def accepted(verdicts: Sequence[Verdict]) -> int:
    """Count the verdicts that a person would accept."""
    return sum(verdict.accepted for verdict in verdicts)


def mean_score(verdicts: Sequence[Verdict]) -> float:
    """Return the mean score; 0 where there is none."""
    return sum(verdict.score for verdict in verdicts) / max(1, len(verdicts))


def error(verdicts: Sequence[Verdict]) -> float:
    """Return the standard error of the mean score; 0 for fewer than two verdicts."""
    scores = [verdict.score for verdict in verdicts]
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0


def mean_checks(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return the mean of every check."""
    return {name: sum(one.checks[name] for one in verdicts) / len(verdicts) for name in verdicts[0].checks}


def worth(asked: Sequence[Verdict], unrelated: Sequence[Verdict], everywhere: bool) -> float:
    """Return one number in 0..1 for a step: the mean score, times what is left alone unless it is meant everywhere."""
    return mean_score(asked) * (1.0 if everywhere else accepted(unrelated) / max(1, len(unrelated)))

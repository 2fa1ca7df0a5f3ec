"""Claims about what is to be expected on unseen data."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.reports.curves import Curves
from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.stopping import not_turned
from benchmarks.statistics import t_quantile


@claim(
    r"Expected improvement of the loss on unseen data #gain % \(90 % interval #low to #high %\), ",
    r"Expected improvement of the loss on unseen data #gain %, ",
)
def improvement(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["gain"], 100 * curves.gain, "the gain")
    yield from _interval(curves, told)
    yield from holds(curves.gain > 0, "it got worse")


@claim(
    r"No improvement of the loss on unseen data is expected: it got worse by #loss % "
    r"\(90 % interval of the improvement #low to #high %\), ",
    r"No improvement of the loss on unseen data is expected: it got worse by #loss %, ",
)
def no_improvement(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["loss"], -100 * curves.gain, "the loss")
    yield from _interval(curves, told)
    yield from holds(curves.gain <= 0, "it got better")


def _interval(curves: Curves, told: Told) -> Iterator[str]:
    """Check the ends: Student's over references, the larger of both errors, and what they share (.04)."""
    if not told.get("low"):
        yield from holds(curves.references < 2, "an interval is missing")
        return
    half = 100 * t_quantile(curves.references - 1, 0.9) * math.hypot(max(curves.error, curves.spread), 0.04)
    yield from near(told["low"], 100 * curves.gain - half, "the interval's lower end")
    yield from near(told["high"], 100 * curves.gain + half, "the interval's upper end")


@claim(
    r"reached at the surrogates' step #best of #ended \(budget reached: their held-out loss had not clearly turned "
    r"up\); "
)
def reached(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["best"], curves.best, "the best step")
    yield from near(told["ended"], curves.steps[-1], "the surrogates' last step")
    yield from not_turned(curves)


@claim(r"(?P<how>best|least) near the surrogates' step #best \(range #low to #high\); ")
def best_near(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from near(told["best"], curves.best, "the best step")
    yield from near(told["low"], max(1, curves.best // 2), "half of it")
    yield from near(told["high"], 2 * curves.best, "twice of it")
    yield from holds(curves.turned, "the surrogates' budget ended near it")
    yield from holds((told["how"] == "best") == (curves.gain > 0), f"the gain is {curves.gain:.4f}")


@claim(r"confidence (?P<level>high|medium|low)\. A lower loss does not say how the samples look or read\.")
def confidence(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    low = curves.references < 4 or curves.gain - curves.error <= 0 or curves.gain < 0.02
    high = not low and curves.references >= 8 and curves.gain >= 3 * curves.error and curves.turned
    found = "low" if low else "high" if high else "medium"
    yield from holds(told["level"] == found, f"the rule gives {found}")


@claim(r"The references do not show a clear benefit: add some\.")
def no_clear_benefit(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    unclear = curves.gain - curves.error <= 0 or curves.gain < 0.02
    yield from holds(unclear, f"the gain is {curves.gain:.3f} +- {curves.error:.3f}")


@claim(r"With fewer than #least references it is never more: add some\.")
def too_few(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = _meant(records, sentence).references
    yield from holds(found < int(told["least"]) == 4, f"there are {found}")


@claim(r"It came within #soon steps: with a lower learning rate a run can be stopped more precisely\.")
def soon(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    curves = _meant(records, sentence)
    yield from holds(curves.best <= int(told["soon"]), f"it came at step {curves.best}")
    yield from holds(curves.turned and curves.gain > 0, "it was the budget's end, or no improvement")


def _meant(records: Records, sentence: Sentence) -> Curves:
    """Return the curves that a text speaks of: while the surrogates are trained there are no others."""
    return records.surrogates if sentence.where == "messages.surrogate" else records.followed

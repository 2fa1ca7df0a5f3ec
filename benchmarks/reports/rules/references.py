"""Claims about the user's own references: whether each fits among the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds

NAME = r"(?P<name>[^:]+?)"
SHARE = r"(?P<share>-?[\d.e-]+%)"


def row_of(records: Records, name: str) -> int:
    """Return the place of the reference with a name."""
    return records.names.index(name)


def of_loss(told: str, found: float) -> list[str]:
    """Check a share of a loss; a small one is told by its first digit."""
    digits = 0 if abs(found) >= 0.01 else 1 - math.floor(math.log10(abs(100 * found) or 1e-9)) - 1
    slack = 0.51 * 10**-digits
    return holds(abs(float(told.removesuffix("%")) - 100 * found) <= slack, f"the share is {found:.4f}, not {told}")


@claim(rf"{NAME} fits: the others alone take {SHARE} of its loss away\.", where="references")
def fits(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    learnt, row = records.surrogates.learnt(), row_of(records, told["name"])
    yield from of_loss(told["share"], learnt[row])
    yield from holds(learnt[row] > 0 and learnt[row] >= 0.4 * median(learnt), "it fits less than the rest")


@claim(
    rf"{NAME} fits less than the rest: the others take {SHARE} of its loss away, where "
    rf"(?P<usual>-?[\d.e-]+%) is usual\. "
    r"Look at it\.",
    where="references",
)
def fits_less(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    learnt, row = records.surrogates.learnt(), row_of(records, told["name"])
    yield from of_loss(told["share"], learnt[row])
    yield from of_loss(told["usual"], median(learnt))
    yield from holds(0 < learnt[row] < 0.4 * median(learnt), "it does not stand out")


@claim(
    rf"{NAME} may not belong: what the others teach (?:makes it {SHARE} worse|does not help it at all), as happens to "
    r"some that do\. Look at it\.",
    rf"{NAME}: what the others teach (?:makes it {SHARE} worse|does not help it at all), and so it is "
    rf"with at least half "
    r"of all references\.",
    where="references",
)
def does_not_belong(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    learnt, row = records.surrogates.learnt(), row_of(records, told["name"])
    yield from holds(learnt[row] <= 0, "the others help it")
    if told["share"]:
        yield from of_loss(told["share"], -learnt[row])
    helped = median(learnt) > 0
    yield from holds(helped == ("may not belong" in sentence.text), f"the usual share is {median(learnt):.4f}")


@claim(rf"{NAME} teaches nearly the same as (?P<others>.+); one of them is enough\.", where="references")
def twin(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    row = row_of(records, told["name"])
    others = [row_of(records, name) for name in told["others"].split(" and ")]
    fold = {i: number for number, part in enumerate(records.surrogates.folds) for i in part}
    yield from holds(min(others) < row, "it is the first of them")
    yield from holds(len({fold.get(i) for i in (row, *others)}) == 1, "they are held out apart")


@claim(rf"{NAME} was never held out, so nothing is known of it\.", where="references")
def never_held_out(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    row = row_of(records, told["name"])
    yield from holds(not any(row in fold for fold in records.surrogates.folds), "it was held out")

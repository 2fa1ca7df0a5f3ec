"""From influence scores to the candidates that are replayed, and how far those scores can be trusted.

Shapes: n candidates, `ranking` (n,). Positive = beneficial.
"""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TRUSTED = 0.1  # agreement of two halves below which a ranking is taken for noise
ROWS_AT_ONCE = 512  # compared with all others in one product


@dataclass(frozen=True)
class Selection:
    """The candidates kept, best first, and why these."""

    indices: tuple[int, ...]
    rule: Literal["top", "threshold", "random"]
    eta: float | None  # the lowest score kept; None where the scores did not choose
    reliability: float | None
    duplicates: int  # candidates passed over because a near-duplicate was kept
    reason: str


def near_duplicates_by_cosine(features: Tensor, threshold: float = 0.98) -> tuple[int, ...]:
    """Return a group number for every row of `features` (n, f); rows with a cosine above `threshold` share a group.

    Groups are connected components, so a chain of near-duplicates is one group. Made for whole pools, a block of rows
    at a time; the few references are compared more closely (`near_duplicate_references`).
    """
    unit = torch.nn.functional.normalize(features.flatten(1).float(), dim=1)
    group = list(range(len(unit)))

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    for start in range(0, len(unit), ROWS_AT_ONCE):
        close = (unit[start : start + ROWS_AT_ONCE] @ unit.T > threshold).nonzero().tolist()
        for i, j in close:
            group[root(start + i)] = root(j)
    return tuple(root(i) for i in range(len(unit)))


def select(
    ranking: Tensor,
    *,
    count: int | None = None,
    eta: float | None = None,
    sources: Sequence[Hashable] | None = None,
    duplicates: Sequence[Hashable] | None = None,
    reliability: float | None = None,
    seed: int = 0,
) -> Selection:
    """Keep the top `count` candidates, or those scoring above `eta` (with `count` as a cap), at most one of each group.

    Half of `count` is shared out equally among the `sources`, best candidates first, and the other half goes by score
    alone: replay protects what it touches, so one source must not take everything (our reconstruction of the cap per
    source). `duplicates` gives each candidate's group. With a `reliability` below TRUSTED the scores do not
    choose: a random set, spread evenly over the sources, replaces them. Raises ValueError when neither `count` nor
    `eta` is given.
    """
    if count is None and eta is None:
        raise ValueError("select needs a count or a threshold eta")
    n = len(ranking)
    sources = sources if sources is not None else [None] * n
    groups = duplicates if duplicates is not None else range(n)
    wanted = min(n, count if count is not None else n)
    order = [i for i in ranking.argsort(descending=True, stable=True).tolist() if math.isfinite(ranking[i])]
    if reliability is not None and reliability < TRUSTED:
        return _random(order, wanted, sources, groups, reliability, seed)
    if eta is not None:
        order = [i for i in order if ranking[i] > eta]
    unique = _unique(order, groups)
    kept = _stratified(unique, wanted, sources)
    lowest = ranking[kept[-1]].item() if kept else None
    passed = len(order) - len(unique)
    rule: Literal["top", "threshold"] = "top" if eta is None else "threshold"
    return Selection(tuple(kept), rule, lowest, reliability, passed, _why(rule, len(kept), n, eta, reliability))


def _random(
    order: list[int],
    wanted: int,
    sources: Sequence[Hashable],
    groups: Sequence[Hashable],
    reliability: float,
    seed: int,
) -> Selection:
    """Draw at random, visiting the sources in turn: where the ranking is noise, breadth is what replay can offer."""
    shuffled = sorted(order)
    random.Random(seed).shuffle(shuffled)
    unique = _unique(shuffled, groups)
    turns = [i for turn in itertools.zip_longest(*_by_source(unique, sources).values()) for i in turn if i is not None]
    kept = tuple(turns[:wanted])
    reason = (
        f"Two halves of the scoring agreed with a correlation of only {reliability:.2f} (below {TRUSTED}), so the "
        f"ranking is mostly noise: {len(kept)} candidates were drawn at random, evenly over the sources, instead."
    )
    return Selection(kept, "random", None, reliability, len(order) - len(unique), reason)


def _unique(order: Iterable[int], groups: Sequence[Hashable]) -> list[int]:
    """Keep the first candidate of every group."""
    first: dict[Hashable, int] = {}
    for i in order:
        first.setdefault(groups[i], i)
    return list(first.values())


def _by_source(order: Iterable[int], sources: Sequence[Hashable]) -> dict[Hashable, list[int]]:
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i in order:
        members[sources[i]].append(i)
    return members


def _stratified(order: list[int], wanted: int, sources: Sequence[Hashable]) -> list[int]:
    """Give every source its equal part of half the places, the rest to the best that remain; best first."""
    members = _by_source(order, sources)
    share = wanted // (2 * max(1, len(members)))
    kept = {i for source in members.values() for i in source[:share]}
    for i in order:
        if len(kept) >= wanted:
            break
        kept.add(i)
    return [i for i in order if i in kept]


def _why(rule: str, kept: int, of: int, eta: float | None, reliability: float | None) -> str:
    chosen = f"score above {eta:g}" if rule == "threshold" else "score highest"
    reason = f"{kept} of {of} candidates were kept because they {chosen}."
    if reliability is None:
        return reason
    return f"{reason} Two halves of the scoring agree with a correlation of {reliability:.2f}."

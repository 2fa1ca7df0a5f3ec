"""From influence scores to the candidates that are replayed, and how far those scores can be trusted.

Shapes: n candidates, `ranking` (n,). Positive = beneficial.
"""

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TRUSTED = 0.1  # agreement of two halves below which a ranking is taken for noise
ROWS_AT_ONCE = 512  # compared with all others in one product
SCORED, POOLED = "their scores", "their own scores and their sources', each as far as it repeats"
DRAWN = "a draw, as was asked"


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
    words: str = SCORED,
) -> Selection:
    """Keep the top `count` candidates, or those scoring above `eta` (with `count` as a cap), at most one of each group.

    Half of `count` is shared out equally among the `sources`, best candidates first, and the other half goes by score
    alone: replay protects what it touches, so one source must not take everything (our reconstruction of the cap per
    source). `duplicates` gives each candidate's group. With a `reliability` below TRUSTED the scores do not
    choose: a random set, spread evenly over the sources, replaces them. `words` say to a person what the ranking is.
    Raises ValueError when neither `count` nor `eta` is given.
    """
    if count is None and eta is None:
        raise ValueError("select needs a count or a threshold eta")
    n = len(ranking)
    sources = sources if sources is not None else [None] * n
    groups = duplicates if duplicates is not None else range(n)
    wanted = min(n, count if count is not None else n)
    order = [i for i in ranking.argsort(descending=True, stable=True).tolist() if math.isfinite(ranking[i])]
    if reliability is not None and reliability < TRUSTED:
        doubt = f"Two halves of the scoring agreed with a correlation of only {reliability:.2f} (below {TRUSTED})"
        why = f"{doubt}, so the ranking is mostly noise"
        return select_at_random(
            ranking, count=wanted, sources=sources, duplicates=groups, reliability=reliability, seed=seed, why=why
        )
    if eta is not None:
        order = [i for i in order if ranking[i] > eta]
    unique = _unique(order, groups)
    kept = _stratified(unique, wanted, sources)
    lowest = ranking[kept[-1]].item() if kept else None
    passed = len(order) - len(unique)
    rule: Literal["top", "threshold"] = "top" if eta is None else "threshold"
    members = _by_source(unique, sources)
    why = _why(len(unique) - len(kept), _share(wanted, members) if len(members) > 1 else 0, eta, words)
    reason = f"{len(kept)} of {n} candidates were kept, {why}; near-duplicates count once."
    if reliability is not None:
        reason += f" Two halves of the scoring agree with a correlation of {reliability:.2f}."
    return Selection(tuple(kept), rule, lowest, reliability, passed, reason)


def select_at_random(
    ranking: Tensor,
    *,
    count: int,
    sources: Sequence[Hashable],
    duplicates: Sequence[Hashable],
    reliability: float | None,
    seed: int,
    why: str,
) -> Selection:
    """Draw `count` candidates at random, visiting the sources in turn, from those with a finite `ranking`.

    Where the ranking is noise, breadth is what replay can offer. `why` begins the sentence for a person.
    """
    shuffled = ranking.isfinite().nonzero().flatten().tolist()
    amount = len(shuffled)
    random.Random(seed).shuffle(shuffled)
    unique = _unique(shuffled, duplicates)
    turns = [i for turn in itertools.zip_longest(*_by_source(unique, sources).values()) for i in turn if i is not None]
    kept = tuple(turns[:count])
    reason = f"{why}: {len(kept)} candidates were drawn at random, evenly over the sources, instead."
    return Selection(kept, "random", None, reliability, amount - len(unique), reason)


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
    share = _share(wanted, members)
    kept = {i for source in members.values() for i in source[:share]}
    for i in order:
        if len(kept) >= wanted:
            break
        kept.add(i)
    return [i for i in order if i in kept]


def _share(wanted: int, members: Sized) -> int:
    """Return how many places every source has for itself."""
    return wanted // (2 * max(1, len(members)))


def _why(left: int, each: int, eta: float | None, words: str) -> str:
    """Say what decided; `left` candidates could have been kept too, and every source had `each` places for itself."""
    if not left:
        return "all that could be ranked" if eta is None else f"all with a score above {eta:g}"
    above = "" if eta is None else f", of those above {eta:g}"
    places = (
        f"{each} place{'s' * (each > 1)} for every source, as far as it fills them, the others for " if each else ""
    )
    return f"by {words}{above}: {places}whichever come first"

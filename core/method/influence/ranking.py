"""From noisy scores to a ranking: a candidate's own score, and that of its source, each weighed by how well it repeats.

At four to sixteen references the score of a single candidate hardly repeats between two halves of the evidence, but the
mean over the candidates of one source (a domain, a category) does. The prediction is the usual one of a random-effects
model, s = mu + source + own + noise (best linear prediction); its variances come from split halves. Our own addition.

Shapes: F folds, K draws, P parts (folds, or the draws of a single fold), c candidates.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.method.influence.selection import TRUSTED

MIN_SOURCES = 4  # with fewer, the agreement of their means is chance
MAX_SPLITS = 64
# Standard errors above 0 from which an agreement is told from chance: passed by noise in 5 % of cases by candidates and
# in 16 % by sources. Those are few: asked for 1.645 too, a right source is overlooked more often.
CLEAR_OF_CANDIDATES, CLEAR_OF_SOURCES = 1.645, 1.0


@dataclass(frozen=True)
class Ranking:
    """Hold what selection goes by, and how far two halves of the evidence agree on it."""

    values: Tensor  # (c,); a candidate that was not scored is predicted from its source, NaN where that is unknown too
    reliability: float | None  # correlation of the two halves' rankings; None where nothing could be split
    by_source: float | None  # the same of the means of the sources alone
    by_candidate: float | None  # the same of single candidates within their sources
    chance_by_source: float | None = None  # how far chance alone takes `by_source`
    chance_by_candidate: float | None = None  # the same for `by_candidate`

    @property
    def repeats(self) -> bool | None:
        """Tell whether sources or candidates agree so well that scores can choose; None where nothing was split.

        Either has to agree better than chance and better than TRUSTED. `reliability` does not tell it: the
        weights behind it are fitted to the same scores, so that pure noise is often above .1.
        """
        if self.by_candidate is None:
            return None
        return any(agreement > max(chance, TRUSTED) for agreement, chance in self._agreements)

    @property
    def doubt(self) -> str:
        """Say to a person, where nothing repeats, how far two halves agree and how far they would have to."""
        told = [
            f"{agreement:.2f} for {name}, where more than {max(chance, TRUSTED):.2f} is needed"
            for (agreement, chance), name in zip(self._agreements, ("single examples", "whole sources"), strict=False)
        ]
        like_chance = all(agreement <= chance for agreement, chance in self._agreements)
        how = "no better than chance" if like_chance else "too little to choose by"
        return f"agree {how} (a correlation of {', and of '.join(told)})"

    @property
    def _agreements(self) -> list[tuple[float, float]]:
        """Each agreement with what chance reaches: of candidates, then of sources."""
        both = ((self.by_candidate, self.chance_by_candidate), (self.by_source, self.chance_by_source))
        return [(agreement, chance) for agreement, chance in both if agreement is not None and chance is not None]


def rank(scores: Tensor, sources: Sequence[Hashable] | None = None) -> Ranking:
    """Return the ranking of `scores` (F, K, c), NaN where a candidate was not scored.

    Two folds or more are split by fold, because draws of one fold share its surrogate and target and would agree too
    well; one fold is split by draw. Agreement is Pearson's: what matters is whether the halves agree on the few
    candidates that stand out, and a rank correlation over a pool of mostly useless candidates does not see that. It is
    the agreement of halves, not stepped up to the full length, so it errs low.
    """
    parts = _parts(scores)
    known = parts.isfinite().all(0)
    if len(parts) < 2 or known.sum() < 2:
        return Ranking(parts.mean(0), None, None, None)
    groups = _Groups.of(sources or [0] * parts.shape[1], known)
    means, own = groups.means(parts), groups.residuals(parts)
    by_source = _agreement(means[:, groups.sizes > 1]) if groups.enough else None
    by_candidate = _agreement(own[:, known])
    chance = (
        CLEAR_OF_SOURCES * _error(len(parts), int((groups.sizes > 1).sum()) - 1) if groups.enough else None,
        CLEAR_OF_CANDIDATES * _error(len(parts), groups.free),
    )
    weights = groups.weights(by_source), _stepped_up(by_candidate) if groups.enough else 1.0
    if not bool(weights[0].any()) and not weights[1]:  # nothing repeats: the plain mean is as good an order as any
        return Ranking(parts.mean(0), 0.0, by_source, by_candidate, *chance)
    predicted = groups.predict(parts, *weights)
    return Ranking(predicted.mean(0), _agreement(predicted[:, known]), by_source, by_candidate, *chance)


@dataclass(frozen=True)
class _Groups:
    """The sources as numbers: `of_candidate` (c,), and how many scored candidates each has, `sizes` (g,)."""

    of_candidate: Tensor
    sizes: Tensor
    known: Tensor

    @classmethod
    def of(cls, sources: Sequence[Hashable], known: Tensor) -> _Groups:
        number = {source: place for place, source in enumerate(dict.fromkeys(sources))}
        of_candidate = torch.tensor([number[source] for source in sources])
        return cls(of_candidate, torch.bincount(of_candidate[known], minlength=len(number)), known)

    @property
    def enough(self) -> bool:
        """Whether there are sources enough to tell which of them repeat."""
        return int((self.sizes > 1).sum()) >= MIN_SOURCES

    @property
    def free(self) -> int:
        """How many residuals are free: one less than candidates, of every source or of all."""
        return int(self.known.sum()) - (int((self.sizes > 0).sum()) if self.enough else 1)

    def means(self, parts: Tensor) -> Tensor:
        """Return the mean of every source (P, g), NaN where none of its candidates was scored."""
        total = torch.zeros(len(parts), len(self.sizes), dtype=parts.dtype)
        total.index_add_(1, self.of_candidate[self.known], parts[:, self.known])
        return total / self.sizes

    def residuals(self, parts: Tensor) -> Tensor:
        """Return every candidate's distance from the mean of its source, or of all where there are too few sources."""
        if not self.enough:
            return parts - parts[:, self.known].mean(1, keepdim=True)
        return parts - self.means(parts)[:, self.of_candidate]

    def weights(self, agreement: float | None) -> Tensor:
        """Return the weight of each source's mean (g,): k q / (1 + k q), with q from the agreement at usual size k."""
        if agreement is None:
            return torch.zeros(len(self.sizes))
        share = min(_stepped_up(agreement), 0.99)
        usual = self.sizes[self.sizes > 1].float().mean()
        ratio = share / ((1 - share) * usual)
        return self.sizes * ratio / (1 + self.sizes * ratio)

    def predict(self, parts: Tensor, of_sources: Tensor, of_candidates: float) -> Tensor:
        """Return mu + w_source (source - mu) + w_own (own) for every part and candidate (P, c)."""
        overall = parts[:, self.known].mean(1, keepdim=True)
        shift = torch.where(self.sizes > 0, of_sources * (self.means(parts) - overall).nan_to_num(), torch.nan)
        own = torch.where(self.known, of_candidates * self.residuals(parts), 0.0)
        if not self.enough:
            return torch.where(self.known, overall + own, torch.nan)
        return overall + shift[:, self.of_candidate] + own


def _parts(scores: Tensor) -> Tensor:
    """Return what can be split (P, c), every part scaled to the same spread so that no fold outvotes the others."""
    parts = (scores.mean(1) if scores.shape[0] > 1 else scores[0]).double()
    spread = torch.stack([part[part.isfinite()].std(correction=0) for part in parts])
    if not bool((spread > 0).all()):
        return parts
    return parts * (spread.mean() / spread).unsqueeze(1)


def _agreement(parts: Tensor) -> float:
    """Return Pearson's correlation of two halves of `parts` (P, any), averaged over the balanced splits."""
    found = []
    for half in halves(len(parts)):
        rest = [part for part in range(len(parts)) if part not in half]
        found.append(_pearson(parts[list(half)].mean(0), parts[rest].mean(0)))
    return sum(found) / len(found)


def _error(parts: int, free: int) -> float:
    """Return the standard error of the agreement of halves that share nothing.

    The correlation of one split has the variance 1 / free; its mean over all splits of P parts is the mean over pairs
    of parts, with P / (2 (P - 1)) of that.
    """
    return math.sqrt(parts / (2 * (parts - 1)) / free)


def _pearson(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = (a.norm() * b.norm()).item()
    return (a @ b).item() / scale if scale > 0 else 0.0


def _stepped_up(agreement: float) -> float:
    """Return the reliability of the whole from the agreement of its halves (Spearman and Brown), 0 at least."""
    return max(0.0, 2 * agreement / (1 + agreement)) if agreement > 0 else 0.0


def halves(parts: int) -> Iterator[tuple[int, ...]]:
    """Yield the balanced splits, as the half that holds part 0 (evenly thinned where there are very many)."""
    rest = itertools.combinations(range(1, parts), (parts + 1) // 2 - 1)
    splits = [(0, *others) for others in itertools.islice(rest, 20_000)]
    yield from splits[:: -(-len(splits) // MAX_SPLITS)]

"""In which shapes a job's pictures are trained: a few at most, chosen by their sizes alone so that least is cut off.

A shape is a size in pixels whose area is about that of the backbone's own square. Of a picture the largest window of
its shape is taken, in the middle, and scaled to that size. Other trainers call such shapes buckets; they take as many
as fit, and we few, since each of them needs references to learn from and references to hold out. Our own rule.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction

Size = tuple[int, int]  # width and height, in pixels
MOST_SHAPES = 3  # of one job
SMALLEST_SIDE = 256  # of a square, below which a backbone is trained in nothing else unless that is asked for
LONGEST = 2.0  # long side by short side; what is longer, backbones draw as two pictures side by side
AREA = 1 / 8  # by which the area of a shape may differ from that of the square, either way
STEPS = 16  # to the side of a large square
WORTH = 0.05  # of all area, which a shape more than without it must save


def usual_most(side: int) -> tuple[int, str]:
    """Return how many shapes a job has at most that does not say, by the side of its square, and why."""
    if side < SMALLEST_SIDE:
        return 1, f"At {side} pixels a side pictures are trained as squares."
    why = f"at most {MOST_SHAPES} of about {side} x {side} pixels, those that cut least off the references"
    return MOST_SHAPES, f"Pictures are trained in few shapes, {why}."


def kept(picture: Size, shape: Size) -> float:
    """Return the share of a picture's area that a window of the shape keeps, 0 to 1."""
    across, down = picture[0] * shape[1], picture[1] * shape[0]
    return min(across, down) / max(across, down)


def possible(side: int, step: int) -> list[Size]:
    """Return the square of this side, and the shapes beside it whose sides are multiples of `step`, by their length.

    A large square has sides of coarser steps: a sixteenth of its side is fine enough, and keeps the shapes few.
    """
    area, found = side * side, set[Size]()
    step *= max(1, side // STEPS // step)
    for width in range(step, int(side * LONGEST) + 1, step):
        below = area // width // step * step
        for height in (below, below + step):
            found |= {(width, height), (height, width)} if height else set()
    fitting = (
        shape
        for shape in found
        if abs(shape[0] * shape[1] / area - 1) <= AREA and max(shape) <= LONGEST * min(shape) and shape[0] != shape[1]
    )
    return [(side, side), *sorted(fitting, key=_length)]


def _length(shape: Size) -> tuple[float, Size]:
    """Return what shapes are put in order by: the square first, the longest last."""
    return max(shape) / min(shape), shape


def nearest(picture: Size, shapes: Sequence[Size]) -> Size:
    """Return the shape that cuts least off a picture; of two that cut as much the shorter one, in whatever order."""
    return min(shapes, key=lambda shape: (-kept(picture, shape), _length(shape)))


def lost(pictures: Iterable[Size], shapes: Sequence[Size]) -> float:
    """Return what is cut off in all, in pictures: each counts as one, whatever its size."""
    return math.fsum(1 - kept(picture, nearest(picture, shapes)) for picture in pictures)


def choose(pictures: Sequence[Size], side: int, step: int, most: int, least: int) -> tuple[Size, ...]:
    """Return the shapes that pictures are trained in, the one of most pictures first; the square alone where most is 1.

    At most `most` that together cut off least, each with at least `least` pictures: as many as there are folds, so
    that each fold can hold one out. A shape more has to save `WORTH` of all area.
    """
    chosen: tuple[Size, ...] = ((side, side),)
    if most == 1 or not pictures:
        return chosen
    cuts = _Cuts(pictures, possible(side, step))
    for amount in range(1, most + 1):
        best = cuts.best(amount, 0 if amount == 1 else least)
        if best is not None and lost(pictures, chosen) - lost(pictures, best) > WORTH * len(pictures):
            chosen = best
    taken = Counter(nearest(picture, chosen) for picture in pictures)
    return tuple(sorted(chosen, key=lambda shape: (-taken[shape], chosen.index(shape))))


class _Cuts:
    """What each shape keeps of each picture, of pictures of one proportion once."""

    def __init__(self, pictures: Sequence[Size], shapes: Sequence[Size]) -> None:
        self.shapes = shapes
        counts = Counter(Fraction(width, height).as_integer_ratio() for width, height in pictures)
        self.counts = [count for _, count in sorted(counts.items())]
        self.kept = [[kept(picture, shape) for picture in sorted(counts)] for shape in shapes]

    def best(self, amount: int, least: int) -> tuple[Size, ...] | None:
        """Return the `amount` shapes that keep most and have `least` pictures each; None where none have."""
        sets = itertools.combinations(range(len(self.shapes)), amount)
        found = max(sets, key=lambda places: self._all_kept(places, least), default=None)
        if found is None or self._all_kept(found, least) < 0:
            return None
        return tuple(self.shapes[place] for place in found)

    def _all_kept(self, places: Sequence[int], least: int) -> float:
        """Return how much a set of shapes keeps in all; -1 where one of them has too few pictures."""
        taken, total = dict.fromkeys(places, 0), 0.0
        for each, count in enumerate(self.counts):
            place = max(places, key=lambda place: self.kept[place][each])
            taken[place] += count
            total += count * self.kept[place][each]
        return total if min(taken.values()) >= least else -1.0

"""Groups of what is alike, from the pairs that are."""

from __future__ import annotations

from collections.abc import Iterable


def grouped(count: int, alike: Iterable[tuple[int, int]]) -> list[int]:
    """Return a group number for each of 0..count-1: what a chain of pairs joins shares one, that of its first."""
    group = list(range(count))

    def first(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    for one, other in alike:
        low, high = sorted((first(one), first(other)))
        group[high] = low
    return [first(index) for index in range(count)]


def pairs(groups: Iterable[int]) -> list[tuple[int, int]]:
    """Return pairs that give these groups again."""
    seen: dict[int, int] = {}
    return [(seen.setdefault(group, index), index) for index, group in enumerate(groups)]

"""Whether two texts are kin: nearly the same is learned of them, as sequences of tokens or of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

SAME_TEXT = 0.8  # share of the trigrams of what is learned in common
TELLING = 32  # learned tokens or words, with fewer of which answers to two questions are no copies; our choice
ENOUGH = 4  # texts, from which it can be told what most of them have in common
Trigrams = frozenset[tuple[Hashable, ...]]


@dataclass(frozen=True)
class Text:
    """What two texts are compared by: how much is learned, its trigrams, and what is only read."""

    length: int
    trigrams: Trigrams
    read: tuple[Hashable, ...]

    @classmethod
    def of(cls, read: Sequence[Hashable], learned: Sequence[Hashable]) -> Text:
        """Take a text apart."""
        grams = frozenset(tuple(learned[at : at + 3]) for at in range(max(1, len(learned) - 2)))
        return cls(len(learned), grams, tuple(read))

    def like(self, other: Text, usual: Trigrams) -> bool:
        """Tell whether this is the other one, or nearly."""
        if not _share(self.trigrams, other.trigrams):
            return False
        return self.read == other.read or self.says_the_same(other, usual)

    def says_the_same(self, other: Text, usual: Trigrams) -> bool:
        """Tell whether two texts that say enough share what most texts have not in common."""
        telling = min(self.length, other.length) >= TELLING
        return telling and _share(self.trigrams - usual, other.trigrams - usual)


def alike(texts: Sequence[Text], *, whole: bool = True) -> list[tuple[int, int]]:
    """Return the pairs of texts of which nearly the same is learned; what is only read before it makes none.

    A system prompt that all texts share says nothing about them. Where more than that differs, which is the question,
    two answers are copies only if they say enough, for "yes" or the name of a class is right for many questions; and
    if they also share what most answers have not in common, for the keys of a JSON object are in all of them. Without
    `whole`, that is asked of all pairs: forms that differ in their numbers alone are no copies.
    """
    counted = Counter(gram for text in texts for gram in text.trigrams) if len(texts) >= ENOUGH else {}
    usual = frozenset(gram for gram, count in counted.items() if 2 * count > len(texts))
    pairs = ((i, j) for i in range(len(texts)) for j in range(i + 1, len(texts)))
    if whole:
        return [(i, j) for i, j in pairs if texts[i].like(texts[j], usual)]
    own = [bool(text.trigrams - usual) for text in texts]
    return [(i, j) for i, j in pairs if own[i] and own[j] and texts[i].says_the_same(texts[j], usual)]


def _share(first: Trigrams, second: Trigrams) -> bool:
    return len(first & second) >= SAME_TEXT * len(first | second)

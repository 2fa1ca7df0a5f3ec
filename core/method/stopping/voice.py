"""What tells the references' way of speaking from the backbone's own: words that their answers differ in.

A naive Bayes over the words and signs that an answer holds, learned from the references' answers and from what the
untouched backbone answers to the same questions, so that what they talk about does not count. Our own rule.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MIN_ANSWERS = 4  # of the references; with fewer nothing is told apart
MIN_TOLD_APART = 0.8  # of all answers, each judged without itself: below it there is no voice that words would show
MARKS = 5  # words that a sentence names
MIN_MARK_SHARE = 0.25  # of the references' answers hold a word that is named as a mark
RUN, LONG, MIN_NEW = 4, 12, 0.6  # words in a run; runs that an answer has before it can be told; share that is new
# scripts without spaces are taken sign by sign
_WORDS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]")


@dataclass(frozen=True)
class Voice:
    """The evidence of every word, and from which sum on an answer has the voice."""

    odds: dict[str, float]  # log odds that an answer which holds the word is one of the references'
    threshold: float
    whole: float  # the evidence that a reference's answer has in the middle, judged by what the others teach
    told_apart: float  # share of the answers that are told apart, each by what the others teach
    marks: tuple[str, ...]  # the clearest words of the references

    def heard_in(self, answer: str) -> bool:
        """Tell whether an answer is more like the references' than like the untouched backbone's."""
        return _score(self.odds, answer) > self.threshold

    def share_in(self, answer: str) -> float:
        """Return how much of the voice an answer has: 0 is none, 1 as much as an answer of the references, or more."""
        return min(1.0, max(0.0, _score(self.odds, answer)) / self.whole) if self.whole > 0 else 0.0


def repeats_itself(answer: str) -> bool:
    """Tell whether an answer runs in a circle: too few of its runs of four words are new."""
    words = _WORDS.findall(answer.lower())
    runs = [tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)]
    return len(runs) >= LONG and len(set(runs)) < MIN_NEW * len(runs)


def learn_voice(own: Sequence[str], plain: Sequence[str]) -> Voice | None:
    """Return the voice of the answers `own`, against the backbone's `plain` ones to the same questions.

    None where words don't tell them apart.
    """
    if len(own) < MIN_ANSWERS or len(plain) < MIN_ANSWERS:
        return None
    spoken, other = [_words(answer) for answer in own], [_words(answer) for answer in plain]
    blind = [_left_out(spoken, other, at) for at in range(len(own))]
    against = [-score for score in (_left_out(other, spoken, at) for at in range(len(plain)))]
    threshold = max(0.0, (median(blind) + median(against)) / 2)  # an answer without evidence has no voice
    right = sum(score > threshold for score in blind) + sum(score <= threshold for score in against)
    told_apart = right / (len(own) + len(plain))
    if told_apart < MIN_TOLD_APART:
        return None
    odds = _odds(spoken, other)
    counts = Counter(word for words in spoken for word in words)
    named = [word for word in odds if word[0].isalnum() and counts[word] >= MIN_MARK_SHARE * len(own)]
    clearest = sorted((word for word in named if odds[word] > 0), key=lambda word: (-odds[word], word))
    return Voice(odds, threshold, median(blind), told_apart, tuple(clearest[:MARKS]))


def _words(answer: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(answer.lower()))


def _score(odds: dict[str, float], answer: str) -> float:
    return math.fsum(odds.get(word, 0.0) for word in _words(answer))


def _left_out(mine: Sequence[frozenset[str]], others: Sequence[frozenset[str]], at: int) -> float:
    """Return the evidence that answer `at` is one of `mine`, learned without it and without one of the others."""
    rest = [words for place, words in enumerate(mine) if place != at]
    against = [words for place, words in enumerate(others) if place != at]
    odds = _odds(rest, against)
    return math.fsum(odds.get(word, 0.0) for word in mine[at])


def _odds(mine: Sequence[frozenset[str]], others: Sequence[frozenset[str]]) -> dict[str, float]:
    """Return the log odds of every word, with half an answer added to each side (Jeffreys' prior)."""
    here, there = (Counter(word for words in part for word in words) for part in (mine, others))
    return {
        word: math.log((here[word] + 0.5) / (len(mine) + 1)) - math.log((there[word] + 0.5) / (len(others) + 1))
        for word in here.keys() | there.keys()
    }

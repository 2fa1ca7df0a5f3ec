"""What captions and questions are about: their content words, and whether two of them are about the same."""

from __future__ import annotations

from collections.abc import Collection

from core.references import phrases

# words that say how a sentence is built and not what it is about
_FUNCTION_WORDS = """
a an and any are as at be by can could did do does for from had has have he her his how i if in into is it its me my of
on or our out she should so some that the their them there they this to up us was we were what when where which who why
will with would you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
MIN_PLURAL = 4  # letters of a word whose last s is taken for a plural's


def content(text: str, besides: Collection[str] = ()) -> frozenset[str]:
    """Return the words of a text that say what it is about, plurals as singulars; `besides` are left out too."""
    kept = {word for word in phrases.words(text) if word not in FUNCTION_WORDS and word not in besides}
    return frozenset(word.removesuffix("s") if len(word) >= MIN_PLURAL else word for word in kept)


def same_content(first: frozenset[str], second: frozenset[str]) -> bool:
    """Tell whether all that one of two names is named in the other too: "pizza" and "slice of pizza" are the same."""
    return bool(first) and bool(second) and (first <= second or second <= first)


def resembles(first: frozenset[str], second: frozenset[str]) -> bool:
    """Tell whether two questions share at least half of the content words of the shorter one."""
    return 2 * len(first & second) >= max(1, min(len(first), len(second)))

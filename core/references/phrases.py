"""Words and phrases within a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Return the words of a text, in small letters and without marks."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


def holds(said: Sequence[object], phrase: Sequence[object]) -> bool:
    """Tell whether the words of a phrase stand in a text, side by side and in this order."""
    return any(list(said[start : start + len(phrase)]) == list(phrase) for start in range(len(said) - len(phrase) + 1))


def names(text: str, phrase: str) -> bool:
    """Tell whether a text holds a phrase, whatever the letters' size; signs that are no word are looked for as such."""
    wanted = words(phrase)
    return holds(words(text), wanted) if wanted else phrase in text

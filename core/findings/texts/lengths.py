"""How long texts are before anybody has made tokens of them, and what to say of those that a job will have to cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from core.findings.finding import Finding
from core.parameters.token_limits import TokenLimit
from core.references.items import TextItem

ROUNDED_TO = 32  # tokens, up to which a number that is proposed is rounded
CUT_ORDER = (
    "Of a chat older turns are cut first, then the end of the system prompt, then the middle of the question, and the "
    "end of an answer that does not fit even so; of a plain text the end."
)


@dataclass(frozen=True)
class TextSize:
    """The characters that are said, and how many answers a chat template frames; 0 for plain text."""

    characters: int
    exchanges: int

    @classmethod
    def of(cls, item: TextItem) -> TextSize:
        """Measure one text."""
        if item.messages is not None:
            exchanges = sum(message["role"] == "assistant" for message in item.messages)
        else:
            exchanges = int(item.text is None)
        return cls(len(item.words()), exchanges)


@dataclass(frozen=True)
class TokenGuess:
    """How many tokens a backbone probably makes of a character, and its chat template adds to an exchange."""

    of_a_character: float
    of_an_exchange: float = 0.0

    def tokens(self, size: TextSize) -> float:
        """Return the tokens that a text probably has."""
        return self.of_a_character * size.characters + self.of_an_exchange * size.exchanges


def probably_too_long(sizes: Sequence[TextSize], guess: TokenGuess, limit: TokenLimit) -> Finding | None:
    """Say how many texts a job will probably have to cut, and by how much; None where it seems to be none."""
    tokens = [round(guess.tokens(size)) for size in sizes]
    over = {number: count - limit.tokens for number, count in enumerate(tokens, 1) if count > limit.tokens}
    if not over:
        return None
    worst = max(over, key=lambda number: over[number])
    are, their = ("is", "its") if len(over) == 1 else ("are", "their")
    together = f", all of them together by about {sum(over.values()):,}" if len(over) > 1 else ""
    return Finding(
        "too_long",
        f"Of {len(sizes):,} texts, about {len(over):,} {are} longer than the {limit.tokens:,} tokens {limit.whence}, "
        f"guessed from {their} characters: text {worst} by about {over[worst]:,}{together}. {CUT_ORDER} The job counts "
        "exactly.",
        what_to_do(max(tokens), limit.tokens, limit.most, "about "),
        f"text {worst}",
    )


def what_to_do(longest: int, limit: int, most: int, about: str = "") -> str:
    """Say what to do about texts of which the longest has so many tokens; at most `most` may be asked for."""
    split = "plit what is too long into several texts, each whole in itself"
    if limit >= most:
        return f"S{split}."
    if longest > most:
        return f"S{split}; bat.max_tokens may be {most:,} at most here."
    wanted = min(most, ROUNDED_TO * math.ceil(longest / ROUNDED_TO))
    return f"Set bat.max_tokens to {about}{wanted:,}, which takes more time and memory, or s{split}."

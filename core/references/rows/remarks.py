"""What is noticed while one row of texts is read: told by the reader of the file, which knows the line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from core.references.rows import hygiene


@dataclass
class Remarks:
    """What was passed over, cleaned and understood of one row."""

    ignored: set[str] = field(default_factory=set)  # keys that say nothing about what is learned
    read_as: str | None = None  # another trainer's shape
    empty_systems: int = 0
    masked: set[str] = field(default_factory=set)  # keys of other trainers that say what is not learned
    tools_read_as: set[str] = field(default_factory=set)  # other forms of tools and of their calls
    undeclared: bool = False  # it calls functions and declares none
    cleaned: hygiene.Cleaned = field(default_factory=Counter)

    def clean(self, text: str) -> str:
        """Return a text cleaned; raises UncleanText where it can't be stored."""
        plain, counts = hygiene.cleaned(text)
        if counts:
            self.cleaned.update(counts)
        return plain

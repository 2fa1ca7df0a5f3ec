"""How long a text is, before anybody has made tokens of it."""

from __future__ import annotations

from dataclasses import dataclass

from core.references.items import TextItem


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

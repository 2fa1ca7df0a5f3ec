"""What is learned from: images with captions, or texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import InvalidInput
from core.references import chats

Kind = Literal["images", "texts"]


@dataclass(frozen=True)
class ImageItem:
    """One reference image: PNG bytes without metadata, and its caption."""

    name: str
    caption: str | None
    png: bytes
    width: int
    height: int
    sha256: str
    turned: bool = False  # as its EXIF orientation said


@dataclass(frozen=True)
class TextItem:
    """One reference text, in one of three shapes; the fields of the other two are None."""

    messages: tuple[chats.Message, ...] | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the shape as it stands in a JSONL line."""
        if self.messages is not None:
            return {"messages": [dict(message) for message in self.messages]}
        return {"text": self.text} if self.text is not None else {"prompt": self.prompt, "completion": self.completion}

    def structure(self) -> str:
        """Return what only copies share: all words, who says them, what is learned, and where the prompt ends."""
        return json.dumps(self.row(), sort_keys=True)

    def words(self) -> str:
        """Return everything that is said, for counting."""
        said = [message["content"] for message in self.messages or ()]
        return "\n".join([*said, *(part for part in (self.prompt, self.completion, self.text) if part)])


@dataclass(frozen=True)
class References:
    """Everything of one upload, or of one job, that can be trained on."""

    kind: Kind
    items: tuple[ImageItem | TextItem, ...]


def merge(parts: Sequence[References]) -> References:
    """Return several uploads as one set; raise InvalidInput where images and texts are mixed."""
    kinds = {part.kind for part in parts}
    if len(kinds) != 1:
        raise InvalidInput(
            "A job learns from images or from texts; these files hold both.", code="mixed_kinds", param="training_file"
        )
    return References(kinds.pop(), tuple(without_copies([item for part in parts for item in part.items])))


def without_copies(items: Sequence[ImageItem | TextItem]) -> list[ImageItem | TextItem]:
    """Return each item once: a second copy would stand in two folds and fool the held-out loss."""
    return list(
        {(item.sha256 if isinstance(item, ImageItem) else item.structure()): item for item in reversed(items)}.values()
    )[::-1]

"""What is learned from: images with captions, or texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.errors import InvalidInput
from core.references import chats
from core.references.notices import Notice, Notices
from core.references.tools import verbatim
from core.references.tools.calls import RESULT
from core.references.tools.declarations import Tool

Kind = Literal["images", "texts"]
LAYERS = ("mask", "alpha")  # of an image, either of which may say what of it is learned


@dataclass(frozen=True)
class ImageItem:
    """One reference image: PNG bytes without metadata, its caption, and what says which part of it is to be learned.

    A mask is greys in PNG of the image's own size: white is learned, black is not, and grey in part.
    """

    name: str
    caption: str | None
    png: bytes
    width: int
    height: int
    sha256: str
    mask: bytes | None = None  # of a file beside it
    alpha: bytes | None = None  # how opaque it was before it was put on a ground; None: wholly
    changes: tuple[Notice, ...] = ()  # what was done to its pixels; not kept with it


@dataclass(frozen=True)
class TextItem:
    """One reference text, in one of three shapes; the fields of the other two are None.

    Beside messages there may be `tools`: the functions that they may call.
    """

    messages: tuple[chats.Message, ...] | None = None
    prompt: str | None = None
    completion: str | None = None
    text: str | None = None
    tools: tuple[Tool, ...] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> TextItem:
        """Return the item that `row` has written; nothing of it is looked at."""
        messages, tools = (tuple(row[key]) if row.get(key) is not None else None for key in ("messages", "tools"))
        return cls(messages, row.get("prompt"), row.get("completion"), row.get("text"), tools)

    def row(self) -> dict[str, Any]:
        """Return the shape as it stands in a JSONL line."""
        if self.messages is not None:
            beside = {"tools": [dict(tool) for tool in self.tools]} if self.tools else {}
            return {"messages": [dict(message) for message in self.messages], **beside}
        return {"text": self.text} if self.text is not None else {"prompt": self.prompt, "completion": self.completion}

    def structure(self) -> str:
        """Return what only copies share: all words, who says them, what is learned, and where the prompt ends."""
        return json.dumps(self.row(), sort_keys=True)

    def words(self) -> str:
        """Return everything that is said, and the tools that are declared, for counting."""
        said = [chats.said(message) for message in self.messages or ()]
        said += [part for part in (self.prompt, self.completion, self.text) if part]
        return "\n".join(said + [verbatim.written(tool) for tool in self.tools or ()])

    @property
    def uses_tools(self) -> bool:
        """Whether only a chat template that knows tools can write it."""
        of_tools = any(message["role"] == RESULT or "tool_calls" in message for message in self.messages or ())
        return bool(self.tools) or of_tools


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


def without_copies(
    items: Sequence[ImageItem | TextItem], notices: Notices | None = None, longest: int | None = None
) -> list[ImageItem | TextItem]:
    """Return each item once: a second copy would stand in two folds and fool the held-out loss.

    Notices say which pictures were left out; captions that are joined have at most `longest` characters.
    """
    told = Notices() if notices is None else notices
    pictures = _pictures_once([item for item in items if isinstance(item, ImageItem)], told, longest)
    return [*pictures, *_texts_once([item for item in items if isinstance(item, TextItem)])]


def _pictures_once(items: Sequence[ImageItem], notices: Notices, longest: int | None) -> list[ImageItem]:
    """Keep the first of equal pictures that has a caption, at the place of the first, with what all captions say."""
    kept: dict[str, ImageItem] = {}
    for item in items:
        first = kept.setdefault(item.sha256, item)
        if first is not item:
            original, copy = (item, first) if item.caption and not first.caption else (first, item)
            notices.add("picture_copy", copy.name, f"as {original.name}")
            kept[item.sha256] = replace(
                original,
                caption=_joined(original, copy, notices, longest),
                mask=first.mask or item.mask,
                alpha=first.alpha or item.alpha,
            )
    return list(kept.values())


def _joined(first: ImageItem, copy: ImageItem, notices: Notices, longest: int | None) -> str | None:
    """Return the captions of two copies as lines of one, each line once."""
    known = first.caption.split("\n") if first.caption else []
    more = [line for line in copy.caption.split("\n") if line not in known] if copy.caption else []
    joined = "\n".join([*known, *more])
    if longest is not None and len(joined) > longest:
        notices.add("caption_left_out", copy.name, f"a copy of {first.name}")
        return first.caption
    if known and more:
        notices.add("captions_joined", first.name, f"with that of {copy.name}")
    return joined or None


def _texts_once(items: Sequence[TextItem]) -> list[TextItem]:
    return list({item.structure(): item for item in reversed(items)}.values())[::-1]

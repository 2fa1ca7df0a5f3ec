"""Captions of images as people write them: beside each image as .txt, or in a table of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from core import text_safety
from core.errors import InvalidInput, TooLarge
from core.settings import Settings

TABLES = frozenset({"metadata.jsonl", "captions.jsonl"})
MAX_BYTES = 2_000_000  # of one file with captions
SHAPE = '{"file_name": "...", "text": "..."}'


class Captions:
    """The captions of an archive, by the name of the image without its ending; none may be there twice."""

    def __init__(self, limits: Settings) -> None:
        self._limits = limits
        self._words: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def get(self, stem: str) -> str | None:
        """Return the caption of the image with this name."""
        return self._words.get(stem)

    def without(self, stems: set[str]) -> list[str]:
        """Return the names of captions that belong to none of these images."""
        return [name for stem, name in self._names.items() if stem not in stems]

    def read(self, name: str, content: bytes) -> None:
        """Take the captions of a .txt or of a table; raise InvalidInput that names the file and the line."""
        label, path = text_safety.display_name(name), PurePosixPath(name)
        text = _decoded(content, label)
        if path.name not in TABLES:
            self._add(path.stem, label, caption(text, label, self._limits), label)
            return
        for number, file, words in _rows(text, label):
            place = f"line {number} of {label}"
            self._add(
                PurePosixPath(file).stem, text_safety.display_name(file), caption(words, place, self._limits), place
            )

    def _add(self, stem: str, name: str, words: str, place: str) -> None:
        if not words:
            return
        if self._words.setdefault(stem, words) != words:
            message = f"The caption in {place} belongs to an image that has another caption already; keep one."
            raise InvalidInput(message, code="duplicate_name", param="file")
        self._names[stem] = name


def is_captions(name: str) -> bool:
    """Tell by its name whether an entry of an archive holds captions."""
    return name.lower().endswith(".txt") or PurePosixPath(name).name in TABLES


def caption(text: str, place: str, limits: Settings) -> str:
    """Return a caption as one clean line; raise InvalidInput that names the place where it is too long."""
    text = text_safety.clean(" ".join(text.split()))
    if len(text) > limits.max_caption_characters:
        raise InvalidInput(
            f"A caption in {place} has {len(text)} characters; {limits.max_caption_characters} are taken.",
            code="caption_too_long",
            param="file",
        )
    return text


def _rows(text: str, label: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, file name and caption of each line; other columns are passed over."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            file, words = row["file_name"], row["text"] if "text" in row else row["caption"]
            if not (isinstance(file, str) and isinstance(words, str)):
                raise ValueError("not strings")
            text_safety.clean(words)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"Line {number} of {label} is not {SHAPE} in clean text."
            raise InvalidInput(message, code="invalid_line", param="file") from error
        yield number, file, words


def _decoded(content: bytes, name: str) -> str:
    if len(content) > MAX_BYTES:
        raise TooLarge(f"{name} has more than {MAX_BYTES:,} bytes.", code="text_too_large", param="file")
    try:
        return text_safety.decode(content)
    except text_safety.UncleanText as error:
        raise InvalidInput(f"{name} is not clean text: {error}.", code="encoding", param="file") from error

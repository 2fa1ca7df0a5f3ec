"""What an estimate needs to know of stored references: prompts and lengths. No picture is decoded for it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.backbones.families import Kind
from core.database.tables import File
from core.errors import NotFound
from core.findings import profiles
from core.findings.texts.lengths import TextSize
from core.parameters.summary import ReferenceSummary
from core.references import answer_format
from core.references.items import TextItem
from core.storage.interface import Storage

MAX_BYTES = 20_000_000  # of a stored file that is read as a whole, in memory
MAX_ROWS = 2_000  # texts that are read of one file


@dataclass(frozen=True)
class Summary:
    """What the references say and how long texts are; of a file that is too long to be read, only the count."""

    count: int
    prompts: tuple[str, ...] = ()  # as in ReferenceSummary
    texts: tuple[TextSize, ...] = ()
    uncaptioned: int = 0  # images
    shape: str | None = None  # of the answers

    def __add__(self, other: Summary) -> Summary:
        prompts, texts = self.prompts + other.prompts, self.texts + other.texts
        uncaptioned, shape = self.uncaptioned + other.uncaptioned, self.shape or other.shape
        return Summary(self.count + other.count, prompts, texts, uncaptioned, shape)

    def for_resolving(self, kind: Kind) -> ReferenceSummary:
        """Return what core.parameters.resolving takes."""
        return ReferenceSummary(
            kind=kind, count=self.count, prompts=self.prompts, uncaptioned=self.uncaptioned, shape=self.shape
        )


def files_of(session: Session, ids: Sequence[str]) -> list[File]:
    """Return the rows of files in the order of their ids, without those that are gone."""
    found = {file.id: file for file in session.scalars(select(File).where(File.id.in_(ids)))}
    return [found[id] for id in ids if id in found]


def summarise(files: Sequence[File], storage: Storage, kind: Kind) -> Summary:
    """Look into the sanitised uploads; raises NotFound where one is gone, StorageUnavailable where the store is."""
    found = Summary(0)
    for file in files:
        found += _summary(file, storage, kind)
    return found


def _summary(file: File, storage: Storage, kind: Kind) -> Summary:
    with _opened(file, storage, whole=kind == "texts") as content:
        if content is None:
            return _unread(file)
        try:
            if kind == "images":
                captions = _captions(content, file.items)
                return Summary(file.items, tuple(captions), uncaptioned=captions.count(""))
            return _texts(content, file.items)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise NotFound("A training file can't be read any more; upload it again.", code="file_not_found") from error


@contextmanager
def _opened(file: File, storage: Storage, *, whole: bool) -> Iterator[BinaryIO | None]:
    """Open a stored file to be read in any order, None where it is too long for that; no copy of it lies anywhere.

    Captions are a few bytes among many of pictures: where the store lets us seek, the length of an archive is nothing.
    """
    if file.bytes <= MAX_BYTES:
        yield io.BytesIO(storage.read(file.storage_key))
    elif whole:
        yield None
    else:
        with storage.open(file.storage_key) as stored:
            yield stored if stored.seekable() else None


def _unread(file: File) -> Summary:
    """Return what is known of a file without looking into it."""
    profile = profiles.parse(file.profile)
    return Summary(file.items, uncaptioned=sum(not picture.words for picture in profile.pictures) if profile else 0)


def _captions(content: BinaryIO, items: int) -> list[str]:
    """Return the captions that a packed set of pictures holds, an empty one for a picture without."""
    if not zipfile.is_zipfile(content):
        return [""] * items
    with zipfile.ZipFile(content) as archive:
        names = set(archive.namelist())
        pictures = sorted(name for name in names if name.endswith(".png"))
        texts = [str(Path(name).with_suffix(".txt")) for name in pictures]
        return [archive.read(name).decode() if name in names else "" for name in texts]


def _texts(content: BinaryIO, items: int) -> Summary:
    rows = [json.loads(line) for line, _ in zip(content, range(MAX_ROWS), strict=False) if line.strip()]
    texts = [TextItem.of(row) for row in rows]
    asked = [next((each["content"] for each in text.messages or () if each["role"] == "user"), None) for text in texts]
    prompts = tuple(text.prompt or said for text, said in zip(texts, asked, strict=True) if text.prompt or said)
    sizes = tuple(map(TextSize.of, texts))
    return Summary(items, tuple(map(str, prompts)), sizes, shape=answer_format.shape(texts))

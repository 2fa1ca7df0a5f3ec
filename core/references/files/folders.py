"""Read a folder of one's own as the zip of it would be read, subfolders included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import InvalidInput
from core.references.files import names, sources
from core.references.files.formats import HEAD_BYTES
from core.references.files.sources import Member


class Folder:
    """The files of a folder: a Source. `unreadable` are the links and files that can't be read, and why."""

    def __init__(self, folder: Path, max_bytes: int, max_entry_bytes: int) -> None:
        self._max_bytes, self._max_entry_bytes = max_bytes, max_entry_bytes
        self._read_bytes = 0
        self.unreadable: dict[str, str] = {}
        self._files = sorted(_files(folder), key=lambda file: file.relative_to(folder).as_posix())
        self.members, self.litter = sources.sorted_out(self._paths(folder))

    def head(self, member: Member) -> bytes:
        """Return the first bytes of a file."""
        with self._files[member.token].open("rb") as file:
            return file.read(HEAD_BYTES)

    def read(self, member: Member) -> bytes:
        """Return a file."""
        with self._files[member.token].open("rb") as file:
            content = file.read(self._max_entry_bytes + 1)
        self._read_bytes += len(content)
        if len(content) > self._max_entry_bytes:
            raise sources.too_large(member.path, self._max_entry_bytes)
        if self._read_bytes > self._max_bytes:
            raise sources.too_large_in_all(self._max_bytes)
        return content

    def _paths(self, folder: Path) -> Iterator[tuple[str, int]]:
        for token, file in enumerate(self._files):
            path = names.canonical(os.fsencode(file.relative_to(folder)).decode("utf-8", "replace"))
            if not file.exists():
                self.unreadable[path] = "is a link to nothing"
            elif not file.is_file():
                self.unreadable[path] = "is no file"
            elif not os.access(file, os.R_OK):
                self.unreadable[path] = "may not be read"
            else:
                yield path, token


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files under a folder; linked folders are not followed, which could lead around in a circle."""
    try:
        for parent, inner, files in os.walk(folder, onerror=_raise):
            linked = [name for name in inner if (Path(parent) / name).is_symlink()]
            yield from (Path(parent) / name for name in (*files, *linked))
    except OSError as error:
        raise InvalidInput(f"The folder can't be read: {error.strerror}.", code="unreadable", param="file") from error


def _raise(error: OSError) -> None:
    raise error

"""Open an untrusted zip: plain files with plain names, inflated no further than the limits."""

from __future__ import annotations

import io
import itertools
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core import text_safety
from core.errors import InvalidInput, TooLarge
from core.references.files import name_encodings, names, sources
from core.references.files.formats import HEAD_BYTES
from core.references.files.sources import Member, refused

MAX_DIRECTORY_BYTES = 1_000_000
MAX_NAME_CHARACTERS = 1_000
MAX_RATIO = 100
MIN_BOMB_BYTES = 1_000_000  # below it a ratio means nothing
CHUNK = 1 << 16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods inflate without a bound on each step
NESTED = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Entry:
    """One file of an archive."""

    name: str
    content: bytes


class _File(io.FileIO):
    """A file that refuses to be read in a large piece: zipfile takes a directory of a million entries in one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            raise TooLarge("The archive has far too many entries.", code="too_many_entries", param="file")
        return super().read(size)


class Archive:
    """The files of an open zip: a Source."""

    def __init__(self, archive: zipfile.ZipFile, max_bytes: int, max_entry_bytes: int) -> None:
        self._archive, self._max_bytes, self._max_entry_bytes = archive, max_bytes, max_entry_bytes
        self._read_bytes = 0
        self._infos = archive.infolist()
        self.members, self.litter = sources.sorted_out(self._paths())
        for member in self.members:
            _check_content(self._infos[member.token], member.path)
        _check_spans(self._infos)

    def head(self, member: Member) -> bytes:
        """Return the first bytes of a file."""
        with self._archive.open(self._infos[member.token]) as stream:
            return stream.read(HEAD_BYTES)

    def read(self, member: Member) -> bytes:
        """Read a file counting real bytes: the sizes that its header claims prove nothing."""
        info, content = self._infos[member.token], bytearray()
        with self._archive.open(info) as stream:
            while chunk := stream.read(CHUNK):
                content += chunk
                self._read_bytes += len(chunk)
                if self._read_bytes > self._max_bytes:
                    raise sources.too_large_in_all(self._max_bytes)
                if len(content) > max(MIN_BOMB_BYTES, MAX_RATIO * info.compress_size):
                    raise TooLarge("The archive inflates more than a hundredfold.", code="zip_bomb", param="file")
                if len(content) > self._max_entry_bytes:
                    raise sources.too_large(member.path, self._max_entry_bytes)
        return bytes(content)

    def _paths(self) -> Iterator[tuple[str, int]]:
        for token, (info, name) in enumerate(zip(self._infos, name_encodings.decoded(self._infos), strict=True)):
            _check_path(info, name)
            if not info.is_dir() and not name.endswith("\\"):
                yield names.canonical(name), token


@contextmanager
def opened(path: Path, max_bytes: int, max_entry_bytes: int) -> Iterator[Archive]:
    """Open an archive to read its files; raises InvalidInput that names an entry, TooLarge for a bomb."""
    try:
        with _File(path) as file, zipfile.ZipFile(file) as archive:
            yield Archive(archive, max_bytes, max_entry_bytes)
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:  # zipfile raises whatever its parser meets: BadZipFile, ValueError, struct.error, ...
        raise InvalidInput(
            "The zip archive is damaged or of an unknown kind; make it anew.", code="corrupt_archive", param="file"
        ) from error


def entries(path: Path, max_bytes: int, max_entry_bytes: int) -> Iterator[Entry]:
    """Yield the files of an archive of ours in their order; raises as `opened`, and where a name is there twice."""
    with opened(path, max_bytes, max_entry_bytes) as archive:
        for first, second in sources.twins(archive.members):
            raise sources.one_name(first, second)
        for member in archive.members:
            yield Entry(member.path, archive.read(member))


def _check_path(info: zipfile.ZipInfo, name: str) -> None:
    """Refuse what is no file within the archive, litter or not."""
    whole = info.orig_filename  # `filename` is cut at a null character
    # bsdtar, the `tar` of Windows and macOS, writes an entry ./ for the folder itself
    unnamed = not names.canonical(name) and not name.endswith("/")
    if unnamed or max(len(whole), len(name)) > MAX_NAME_CHARACTERS:
        raise refused(name, "has no name, or a very long one", "bad_name")
    for form in (whole, name):
        leads_out = form.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", form)
        if leads_out or "\0" in form or re.match("[A-Za-z]:", form):
            raise refused(name, "has a path that leads out of the archive", "unsafe_path")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refused(name, "is a link or a device", "special_file")


def _check_content(info: zipfile.ZipInfo, path: str) -> None:
    """Refuse what can't be read, or would have to be unpacked once more."""
    if info.flag_bits & 1:
        raise refused(path, "is encrypted; make an archive without a password", "encrypted")
    if info.compress_type not in METHODS:
        raise refused(path, "is packed in an unusual way; make an ordinary zip", "corrupt_archive")
    if text_safety.display_name(path).lower().endswith(NESTED):
        raise refused(path, "is an archive in an archive; put its files in directly", "nested_archive")


def _check_spans(infos: Sequence[zipfile.ZipInfo]) -> None:
    spans = sorted((info.header_offset, info.compress_size) for info in infos)
    for (start, size), (following, _) in itertools.pairwise(spans):
        if start + size > following:
            raise TooLarge("Entries of the archive overlap; make it anew.", code="zip_bomb", param="file")

"""Open an untrusted zip: plain files with unique plain names, inflated no further than the limits."""

from __future__ import annotations

import io
import itertools
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core import text_safety
from core.errors import InvalidInput, TooLarge

MAX_ENTRIES = 400
MAX_DIRECTORY_BYTES = 1_000_000
MAX_NAME_CHARACTERS = 1_000
MAX_RATIO = 100
MIN_BOMB_BYTES = 1_000_000  # below it a ratio means nothing
CHUNK = 1 << 16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # other methods inflate without a bound on each step


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


def entries(path: Path, max_bytes: int, max_entry_bytes: int) -> Iterator[Entry]:
    """Yield the files of the archive in order; raise InvalidInput that names the entry, TooLarge for a bomb."""
    try:
        with _File(path) as file, zipfile.ZipFile(file) as archive:
            chosen = _checked(archive.infolist())
            budget = max_bytes
            for info in chosen:
                content = _inflate(archive, info, budget, max_entry_bytes)
                budget -= len(content)
                yield Entry(info.filename, content)
    except InvalidInput:
        raise
    except Exception as error:  # zipfile raises whatever its parser meets: BadZipFile, ValueError, struct.error, ...
        raise InvalidInput(
            "The zip archive is damaged or of an unknown kind; make it anew.", code="corrupt_archive", param="file"
        ) from error


def _checked(infos: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(infos) > MAX_ENTRIES:
        raise TooLarge(
            f"The archive has {len(infos)} entries; {MAX_ENTRIES} are taken.", code="too_many_entries", param="file"
        )
    seen: set[str] = set()
    kept = []
    for info in infos:
        label = text_safety.display_name(info.filename)
        _check_entry(info, label)
        key = unicodedata.normalize("NFC", info.filename).casefold()
        if key in seen:
            raise _refused(label, "is there twice", "duplicate_name")
        seen.add(key)
        if not info.is_dir() and not _is_litter(info.filename):
            kept.append(info)
    spans = sorted((info.header_offset, info.compress_size) for info in infos)
    for (start, size), (following, _) in itertools.pairwise(spans):
        if start + size > following:
            raise TooLarge("Entries of the archive overlap; make it anew.", code="zip_bomb", param="file")
    return kept


def _check_entry(info: zipfile.ZipInfo, label: str) -> None:
    name = info.orig_filename  # `filename` is cut at a null character
    if not PurePosixPath(info.filename).parts or len(name) > MAX_NAME_CHARACTERS:
        raise _refused(label, "has no name, or a very long one", "bad_name")
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match("[A-Za-z]:", name) or "\0" in name:
        raise _refused(label, "has a path that leads out of the archive", "unsafe_path")
    if info.flag_bits & 1:
        raise _refused(label, "is encrypted; make an archive without a password", "encrypted")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused(label, "is a link or a device", "special_file")
    if info.compress_type not in METHODS:
        raise _refused(label, "is packed in an unusual way; make an ordinary zip", "corrupt_archive")
    if label.lower().endswith((".zip", ".tar", ".gz", ".7z", ".rar")):
        raise _refused(label, "is an archive in an archive; put its files in directly", "nested_archive")


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: int, largest: int) -> bytes:
    """Read an entry counting real bytes: the sizes that its header claims prove nothing."""
    content = bytearray()
    with archive.open(info) as stream:
        while chunk := stream.read(CHUNK):
            content += chunk
            if len(content) > budget:
                raise TooLarge(f"The archive holds more than {budget:,} bytes.", code="archive_too_large", param="file")
            if len(content) > max(MIN_BOMB_BYTES, MAX_RATIO * info.compress_size):
                raise TooLarge("The archive inflates more than a hundredfold.", code="zip_bomb", param="file")
            if len(content) > largest:
                message = f"{text_safety.display_name(info.filename)} has more than {largest:,} bytes."
                raise TooLarge(message, code="entry_too_large", param="file")
    return bytes(content)


def _is_litter(name: str) -> bool:
    """Files that operating systems add by themselves."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in {".DS_Store", "Thumbs.db"}


def _refused(label: str, what: str, code: str) -> InvalidInput:
    return InvalidInput(f"The archive's entry {label} {what}.", code=code, param="file")

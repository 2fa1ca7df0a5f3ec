"""Where the files of a set lie: in a zip, in a folder, or sent one by one. They are listed first and read in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import InvalidInput, TooLarge
from core.references.faults import param_of
from core.references.files import litter, names
from core.references.files.formats import HEAD_BYTES

MAX_ENTRIES = 400  # of one ending: an image may have a caption, a mask and a thumbnail beside it
MAX_LISTED = 8_000  # in all, litter included


@dataclass(frozen=True)
class Member:
    """One file of a set by its canonical path (see names); `token` is how its source finds it again."""

    path: str
    token: int


class Source(Protocol):
    """A set of files from a stranger: paths are safe, and no more is read than the limits allow."""

    @property
    def members(self) -> Sequence[Member]:
        """The files that are not litter, in their order."""

    @property
    def litter(self) -> Sequence[str]:
        """Paths of what systems and editors have left in it."""

    def head(self, member: Member) -> bytes:
        """Return the first bytes of a file."""

    def read(self, member: Member) -> bytes:
        """Return a file; raises InvalidInput that names it where it is too large, TooLarge where all are."""


class SentFiles:
    """Files that were sent one by one, each with the name that its sender gave it: a Source."""

    def __init__(self, files: Sequence[tuple[Path, str]], max_bytes: int, max_entry_bytes: int) -> None:
        self._paths = [path for path, _ in files]
        self._max_bytes, self._max_entry_bytes = max_bytes, max_entry_bytes
        self._read_bytes = 0
        self.members, self.litter = sorted_out((names.canonical(name), token) for token, (_, name) in enumerate(files))

    def head(self, member: Member) -> bytes:
        """Return the first bytes of a file."""
        with self._paths[member.token].open("rb") as file:
            return file.read(HEAD_BYTES)

    def read(self, member: Member) -> bytes:
        """Return a file; raises as a Source."""
        path = self._paths[member.token]
        if (size := path.stat().st_size) > self._max_entry_bytes:
            raise too_large(member.path, self._max_entry_bytes)
        self._read_bytes += size
        if self._read_bytes > self._max_bytes:
            raise too_large_in_all(self._max_bytes)
        return path.read_bytes()


def sorted_out(paths: Iterable[tuple[str, int]]) -> tuple[list[Member], list[str]]:
    """Tell litter from members; raises TooLarge where there are too many files of one ending, or too many in all."""
    members: list[Member] = []
    passed: list[str] = []
    counts: Counter[str] = Counter()
    for path, token in paths:
        if len(members) + len(passed) == MAX_LISTED:
            raise _too_many(MAX_LISTED, "files")
        if litter.is_litter(path):
            passed.append(path)
            continue
        members.append(Member(path, token))
        ending = names.parts(path)[2]
        counts[ending] += not litter.is_program(path)
        if counts[ending] > MAX_ENTRIES:
            raise _too_many(MAX_ENTRIES, f"files ending in {names.label(ending)}" if ending else "files without ending")
    return members, passed


def twins(members: Iterable[Member]) -> Iterator[tuple[Member, Member]]:
    """Yield each file that has the name of an earlier one, behind that."""
    seen: dict[str, Member] = {}
    for member in members:
        first = seen.setdefault(names.key(member.path), member)
        if first is not member:
            yield first, member


def one_name(first: Member, second: Member) -> InvalidInput:
    """Say that two files of a set have one name."""
    labels = names.label(first.path), names.label(second.path)
    same = f"{labels[0]} is there twice; keep one of them."
    message = same if labels[0] == labels[1] else f"{labels[0]} and {labels[1]} have one name; give each its own."
    return InvalidInput(message, code="duplicate_name", param=param_of(labels[1]))


def _too_many(most: int, what: str) -> TooLarge:
    return TooLarge(f"There are more than {most:,} {what} in it; send fewer.", code="too_many_entries", param="file")


def too_large_in_all(most: int) -> TooLarge:
    """Say that all files of a set together are too large."""
    message = f"The files hold more than {most:,} bytes in all; send fewer or smaller ones."
    return TooLarge(message, code="archive_too_large", param="file")


def too_large(path: str, most: int) -> TooLarge:
    """Say that one file of a set is too large."""
    label = names.label(path)
    message = f"{label} has more than {most:,} bytes; save it smaller."
    return TooLarge(message, code="entry_too_large", param=param_of(label))


def refused(path: str, what: str, code: str) -> InvalidInput:
    """Refuse a set because of one of its files."""
    label = names.label(path)
    return InvalidInput(f"The entry {label} {what}.", code=code, param=param_of(label))

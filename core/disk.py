"""Files that are there whole or not at all, the hashes of their content, and the folder that holds this code.

Nothing here is written in place. A draft is written beside its target, flushed to the disk and then renamed, and the
folder is flushed after it, so that the name is safe too: a reader sees the old content or the new one, and a kill or a
power loss leaves nothing in between. What it may leave behind is a draft, which is named `.part-*`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent  # where api, core, worker, demo and migrations lie side by side
DRAFT = ".part-"  # what a file's name begins with until it is whole
PRIVATE, PRIVATE_FOLDER, OTHERS = 0o600, 0o700, 0o077  # what is kept is its user's alone; what that leaves to others
FOLDER_TRIES = 1000  # to make a folder and a draft in it, while others take the empty folder away


def keep_private() -> int:
    """Let all that this process and its children make be its user's alone; returns the mask that held before."""
    return os.umask(OTHERS)


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file, whole, in place of the one that may be there."""
    with replacing(path) as draft:
        _fill(draft, content)


def write_first(path: Path, content: bytes) -> None:
    """Write a file unless there is one: of several processes at once the first one wins, and all find it whole."""
    with drafted(path) as draft:
        _fill(draft, content)
        sync(draft)
        with suppress(FileExistsError):
            os.link(draft, path)
        sync(path.parent)


def write_json(path: Path, content: object) -> None:
    """Write JSON for people and programs, whole, in place of what may be there."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file's content, whole, in place of what may be there."""
    with replacing(path) as draft:
        shutil.copyfile(source, draft)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a draft that replaces the file, complete and on the disk, when the block ends well."""
    with drafted(path) as draft:
        yield draft
        place(draft, path)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Give an empty file, its user's alone, in the folder of `path`, which is made; what is left of it is removed."""
    descriptor, name = _begun(path.parent)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(descriptor)


def abandoned(draft: Path) -> bool:
    """Tell whether whoever wrote a draft is dead: a living process holds its lock."""
    try:
        descriptor = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def place(draft: Path, path: Path) -> None:
    """Move a draft, a file or a sealed folder, to its place for good; a folder takes the place of an empty one only."""
    sync(draft)
    os.replace(draft, path)
    sync(path.parent)


def sync_tree(folder: Path) -> None:
    """Flush all that lies below a folder, and then the folder itself."""
    for path in sorted(folder.rglob("*")):
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Flush a file's content, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def opened_within(folder: Path, name: str) -> Iterator[Path]:
    """Give a path to a file below a folder that stays this file, whatever somebody does to its name meanwhile.

    Raises ValueError for a name that leads out of the folder or over a link, and for what is no plain file: a named
    pipe, for one, would hold up whoever opens it.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise ValueError("a file leads out of its folder")
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number, part in enumerate(parts, 1):
            kind = os.O_DIRECTORY if number < len(parts) else os.O_NONBLOCK
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=opened)
            os.close(opened)
            opened = inner
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise ValueError("what should be a file is none")
        yield Path(f"/dev/fd/{opened}")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise ValueError("a file leads out of its folder") from None
        raise
    finally:
        os.close(opened)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def hash_once(path: Path, modified_ns: int, size: int) -> str:
    """Return the SHA-256 of a file, read once a process; the other arguments make a changed file a new question."""
    return hash_file(path)


def _begun(folder: Path) -> tuple[int, str]:
    """Make a draft, which nobody else may open before it is filled, and its folder, as often as that is taken away.

    Somebody who deletes the last file of a folder may take the folder with it; from the draft on it is not empty.
    """
    for _ in range(FOLDER_TRIES):
        with suppress(FileNotFoundError, FileExistsError):  # the second: it was there, and was gone at the next look
            folder.mkdir(parents=True, exist_ok=True)
            if (begun := _locked(*tempfile.mkstemp(dir=folder, prefix=DRAFT))) is not None:
                return begun
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(dir=folder, prefix=DRAFT)


def _locked(descriptor: int, name: str) -> tuple[int, str] | None:
    """Lock a draft for as long as its writer lives; None where it was swept before."""
    with suppress(OSError):  # not every file system can
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.path.lexists(name):
        return descriptor, name
    os.close(descriptor)
    return None


def _fill(draft: Path, content: bytes | Iterable[bytes]) -> None:
    with draft.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)

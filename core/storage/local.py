"""Files in a local folder, with signed addresses like an S3 server's."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import quote, urlencode

from core.disk import DRAFT, abandoned, copy_whole, write_whole
from core.errors import Forbidden, NotFound, StorageUnavailable
from core.keys.keyring import Keyring
from core.storage.interface import StoredObject, sha256_of

ROUTE = "/v1/storage/"


class LocalStorage:
    """Keeps files under a root; a file appears whole, after fsync, or not at all."""

    kind = "local"

    def __init__(self, root: Path, keyring: Keyring) -> None:
        self.root = root.resolve()
        self._keyring = keyring

    def put(self, key: str, source: Path | bytes, content_type: str = "application/octet-stream") -> StoredObject:
        path = self._path(key)
        with _translated():
            try:
                write_whole(path, source) if isinstance(source, bytes) else copy_whole(source, path)
            except OSError:
                self._remove_empty(path.parent)
                raise
            return StoredObject(key, path.stat().st_size, sha256_of(path))

    def open(self, key: str) -> BinaryIO:
        with _translated():
            return self._path(key).open("rb")

    def read(self, key: str) -> bytes:
        with _translated():
            return self._path(key).read_bytes()

    def fetch(self, key: str, path: Path) -> StoredObject:
        with self.open(key), _translated():
            copy_whole(self._path(key), path)
            return StoredObject(key, path.stat().st_size, sha256_of(path))

    def url(self, key: str, *, seconds: int = 300, filename: str | None = None) -> str | None:
        expires = int(time.time()) + seconds
        signature = self._keyring.sign(_signed("GET", key, expires, filename))
        query = {"expires": expires, "signature": signature}
        if filename:
            query["filename"] = filename
        return f"{ROUTE}{quote(key)}?{urlencode(query)}"

    def verify(self, method: str, key: str, expires: int, signature: str, filename: str | None = None) -> Path:
        """Return the file's path where the signature is right and fresh; Forbidden otherwise."""
        right = self._keyring.verifies(_signed(method, key, expires, filename), signature)
        if not right or expires < time.time():
            raise Forbidden("This address is not valid any more. Ask for the download again.", code="invalid_signature")
        path = self._path(key)
        if not path.is_file():
            raise NotFound("The file is no longer stored.", code="file_gone")
        return path

    def keys(self, prefix: str) -> list[str]:
        place = self._path(prefix.rstrip("/"))
        found = [place] if place.is_file() else sorted(_files(place))
        return [path.relative_to(self.root).as_posix() for path in found if not path.name.startswith(DRAFT)]

    def sweep_abandoned(self, prefix: str) -> None:
        place = self._path(prefix.rstrip("/"))
        with _translated():
            for folder in [Path(name) for name, _, _ in os.walk(place, topdown=False)]:
                for draft in filter(abandoned, folder.glob(f"{DRAFT}*")):
                    draft.unlink(missing_ok=True)
                self._remove_empty(folder)

    def sweep(self, seconds: float) -> int:
        before, count = time.time() - seconds, 0
        for path in _files(self.root):
            with suppress(FileNotFoundError):
                if path.name.startswith(DRAFT) and path.stat().st_mtime < before:
                    path.unlink()
                    self._remove_empty(path.parent)
                    count += 1
        self._remove_old_folders(before)
        return count

    def delete_prefix(self, prefix: str) -> int:
        place = self._path(prefix.rstrip("/"))
        with _translated():
            count = _delete(place)
            self._remove_empty(place.parent)
        return count

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder that has become empty, and so on upwards below the root; who needs one makes it anew."""
        while folder != self.root:
            try:
                folder.rmdir()
            except FileNotFoundError:  # somebody else was faster
                pass
            except OSError:  # not empty
                return
            folder = folder.parent

    def _remove_old_folders(self, before: float) -> None:
        """Remove empty folders that are older: what failed to be written left them."""
        for name, _, _ in os.walk(self.root, topdown=False):
            folder = Path(name)
            with suppress(FileNotFoundError):
                if folder.stat().st_mtime < before:
                    self._remove_empty(folder)

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or key.startswith("/") or ".." in parts or "\0" in key:
            raise NotFound("There is no such file.", code="file_gone")
        return self.root.joinpath(*parts)


def _delete(place: Path) -> int:
    """Delete a file, or all of a folder; returns how many files."""
    if place.is_file():
        place.unlink(missing_ok=True)
        return 1
    count = sum(1 for _ in _files(place))
    shutil.rmtree(place, onerror=_unless_gone)
    return count


def _signed(method: str, key: str, expires: int, filename: str | None) -> bytes:
    return f"{method}\n{key}\n{expires}\n{filename or ''}".encode()


def _files(folder: Path) -> Iterator[Path]:
    """Walk through all files below a folder; what vanishes meanwhile is passed over."""
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _unless_gone(_function: object, _path: str, error: tuple[type[BaseException], BaseException, object]) -> None:
    """Go on where somebody else has deleted the same."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise NotFound("The file is no longer stored.", code="file_gone") from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        code = "disk_full" if full else "storage_unavailable"
        words = "The disk is full." if full else f"The storage folder can't be used ({error.strerror})."
        raise StorageUnavailable(words, code=code) from error

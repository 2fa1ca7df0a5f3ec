"""Removing what somebody else has written, whatever its rights and its depth, and without following a link.

shutil.rmtree gives up at a folder that can't be listed, and at a thousand folders one in the other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from core.disk import PRIVATE_FOLDER

MOVED = ".gone-{}"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove(path: Path) -> bool:
    """Remove a file, a link, or a folder with all that it holds; False where something of it stays."""
    with suppress(OSError):
        path.unlink()
    if os.path.lexists(path):
        with suppress(OSError):
            _remove_folder(path)
    return not os.path.lexists(path)


def _remove_folder(path: Path) -> None:
    """Empty a folder without going deeper than one: what lies in its folders is moved up into it."""
    _open_up(str(path))
    top = os.open(path, FOLDER)
    try:
        waiting, numbers = _emptied(top), count()
        while waiting:
            name = waiting.pop()
            _open_up(name, top)
            folder = os.open(name, FOLDER, dir_fd=top)
            try:
                for inner in _emptied(folder):
                    _open_up(inner, folder)  # its own rights count where it is moved
                    moved = next(free for number in numbers if not _is_there(free := MOVED.format(number), top))
                    os.rename(inner, moved, src_dir_fd=folder, dst_dir_fd=top)
                    waiting.append(moved)
            finally:
                os.close(folder)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _emptied(folder: int) -> list[str]:
    """Remove all but the folders in an open folder; returns those."""
    folders = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
        except (IsADirectoryError, PermissionError):  # the second where the system says it so of folders
            folders.append(name)
    return folders


def _is_there(name: str, folder: int) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False


def _open_up(name: str, parent: int | None = None) -> None:
    """Let this user list and change a folder that is its own."""
    found = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{found}", PRIVATE_FOLDER)
    finally:
        os.close(found)

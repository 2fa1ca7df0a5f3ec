"""The data folder is its user's alone: made so, and mended where an older version or somebody else left it open."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from core.disk import OTHERS, PRIVATE_FOLDER
from core.settings import Settings

log = logging.getLogger(__name__)


def claim(settings: Settings) -> None:
    """Make the data folder, or take from others what they may do with it and with what lies in it at the top.

    What lies deeper can't be reached through it then. A folder that belongs to somebody else, as a mounted one may, is
    used as it is, and that is said.
    """
    folder = settings.data.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    opened, refused = 0, 0
    for path in (folder, *folder.iterdir()):
        try:
            opened += _closed(path)
        except FileNotFoundError:  # somebody has deleted it meanwhile
            continue
        except PermissionError:
            refused += 1
    if opened:
        log.warning("other users could read in %s: %d of its files and folders are closed to them now", folder, opened)
    if refused:
        words = "other users may read in %s: %d of its files and folders belong to somebody else, who has to close them"
        log.warning(words, folder, refused)


def _closed(path: Path) -> bool:
    """Take from others what they may do with a file or a folder; False where that is nothing. Links are left alone."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) or not mode & OTHERS:
        return False
    os.chmod(path, stat.S_IMODE(mode) & ~OTHERS)
    return True

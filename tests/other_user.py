"""What an ordinary user may, tested by root: modes of files hold root back from nothing."""

from __future__ import annotations

import ctypes
import os
import platform
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETRESUID = {"x86_64": 117, "aarch64": 147}  # the number of the system call
SAME = -1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be another user in the block, in this thread alone: `os.seteuid` takes the threads of running services along."""
    if os.geteuid() != 0:
        yield
        return
    _become(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        _become(0)


@contextmanager
def unprivileged() -> Iterator[Path]:
    """Give a folder and be its owner in the block, an ordinary user."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(folder, user.pw_uid, user.pw_gid)
        with as_nobody():
            yield Path(folder)


def _become(user: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SETRESUID[platform.machine()], SAME, user, SAME) != 0:
        raise OSError(ctypes.get_errno(), "this thread can't become another user")

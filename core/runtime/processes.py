"""How a process begins and ends: its life is tied to that of its parent, and what stops it at once is a sentence."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import AlbatrossError

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when the parent thread ends; exits at once where it has already ended (Linux only)."""
    if sys.platform != "linux":
        return  # elsewhere a child ends when what it reads from is closed
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def told_at_start() -> Iterator[None]:
    """End the process with a sentence, not a traceback, where something that it can't do without is wrong."""
    try:
        yield
    except AlbatrossError as error:
        raise SystemExit(f"albatross: {error.message}") from None


def process_control(option: int, value: int) -> None:
    """Call prctl (Linux only); raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")

"""How a process begins and ends, and that others can't read it; what stops it at once is a sentence."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from core.errors import AlbatrossError

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
HARMLESS = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when the parent thread ends; exits at once where it has already ended (Linux only)."""
    if sys.platform != "linux":
        return  # elsewhere a child ends when what it reads from is closed
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def hide_memory() -> None:
    """Keep other processes of this user from reading this one's memory and environment, or tracing it (Linux only).

    For whoever holds credentials: where there is no sandbox a trainer that was taken over may be such a process. A
    child inherits it until it executes another program.
    """
    if sys.platform == "linux":
        process_control(PR_SET_DUMPABLE, 0)


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program of others needs of an environment, and no credential: it does not hide its memory."""
    return {name: environment[name] for name in HARMLESS if name in environment}


@contextmanager
def harmless_environment() -> Iterator[None]:
    """Let what the block starts inherit nothing but what is harmless."""
    whole = dict(os.environ)
    os.environ.clear()
    os.environ.update(harmless(whole))
    try:
        yield
    finally:
        os.environ.update(whole)


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

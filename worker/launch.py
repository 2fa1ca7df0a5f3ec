"""Start a program that dies with its parent: `python -m worker.launch PARENT_PID PROGRAM ARGUMENT...`.

The kernel forgets the request at fork but keeps it over exec, so it is made here, between the two. A preexec_fn would
do the same, but is unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask for SIGKILL when the parent thread ends; exits at once where it has already ended (Linux only)."""
    if sys.platform != "linux":
        return  # a trainer elsewhere ends when its standard input is closed
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    die_with_parent(parent)
    # a dump of a process that holds a backbone fills the disk
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()

"""Start a program that dies with its parent.

Used as `python -m core.runtime.launcher [OPTION...] PARENT_PID PROGRAM ARGUMENT...`.

`--file-bytes N` limits the size of each file that it writes; `--no-new-privileges` makes setuid programs powerless.

The kernel forgets the request at fork but keeps it over exec, so it is made here, between the two. A preexec_fn would
do the same, but is unsafe in a process with threads.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys

from core.disk import keep_private
from core.runtime.processes import die_with_parent, process_control

PR_SET_NO_NEW_PRIVS = 38
LAUNCHED_AS = "ALBATROSS_LAUNCHED_AS"  # the number of the process on this machine, which a sandbox hides from it


def main() -> None:
    keep_private()
    chosen = _arguments()
    die_with_parent(chosen.parent)
    # a dump of a process that holds a backbone fills the disk
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if chosen.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (chosen.file_bytes, chosen.file_bytes))
    if chosen.no_new_privileges and sys.platform == "linux":
        process_control(PR_SET_NO_NEW_PRIVS, 1)
    os.environ[LAUNCHED_AS] = str(os.getpid())
    os.execvp(chosen.program[0], chosen.program)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="core.runtime.launcher", allow_abbrev=False)
    parser.add_argument("parent", type=int)
    parser.add_argument("--file-bytes", type=int)
    parser.add_argument("--no-new-privileges", action="store_true")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    return parser.parse_args()


if __name__ == "__main__":
    main()

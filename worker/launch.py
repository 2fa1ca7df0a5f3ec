"""Start a program that dies with its parent: `python -m worker.launch PARENT_PID PROGRAM ARGUMENT...`.

The kernel forgets the request at fork but keeps it over exec, so it is made here, between the two. A preexec_fn would
do the same, but is unsafe in a process with threads.
"""

from __future__ import annotations

import os
import resource
import sys

from core.parent import die_with_parent


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    die_with_parent(parent)
    # a dump of a process that holds a backbone fills the disk
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()

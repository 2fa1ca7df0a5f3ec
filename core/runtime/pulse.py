"""Signs of life of processes that have no address: each touches a file in every round, which health checks look at.

`python -m core.runtime.pulse worker|dispatcher` ends with 0 where such a process of this host goes its rounds.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from typing import Literal, get_args

from core.settings import Settings

Kind = Literal["dispatcher", "worker"]
# a round may take long, where much is erased; a process that hangs is found all the same
ROUNDS, PATIENCE_SECONDS = 8, 60.0
FORGOTTEN_SECONDS = 86_400.0  # a container that was killed leaves its file behind, and no other has its name


class Pulse:
    """The file of the processes of one kind on this host."""

    def __init__(self, settings: Settings, kind: Kind) -> None:
        self._folder, self._kind = settings.data / "work", kind
        self._path = self._folder / f"{kind}@{socket.gethostname()}"
        period = settings.heartbeat_seconds if kind == "worker" else settings.dispatcher_seconds
        self._longest = PATIENCE_SECONDS + ROUNDS * period

    def beat(self) -> None:
        """Say that a round begins; where that can't be written the process goes on."""
        at = time.time()
        with suppress(OSError):
            if not self._path.exists():
                self._begin(at)
            os.utime(self._path, (at, at))

    def beats(self) -> bool:
        """Tell whether a round has begun lately."""
        try:
            return time.time() - self._path.stat().st_mtime < self._longest
        except OSError:
            return False

    def end(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):
            self._path.unlink()

    def _begin(self, at: float) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        for path in self._folder.glob(f"{self._kind}@*"):
            with suppress(FileNotFoundError):  # somebody else has found it too
                if at - path.stat().st_mtime > FORGOTTEN_SECONDS:
                    path.unlink()


def main() -> None:
    kind = next((each for each in get_args(Kind) if sys.argv[1:] == [each]), None)
    if kind is None:
        raise SystemExit(f"usage: python -m core.runtime.pulse {'|'.join(get_args(Kind))}")
    raise SystemExit(0 if Pulse(Settings(), kind).beats() else 1)


if __name__ == "__main__":
    main()

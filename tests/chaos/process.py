"""One process of the plant: started, signalled with all that it has started itself, and started again when it dies."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.worker.floor import ROOT

LIBRARY = ctypes.CDLL(None)  # loaded before any fork
PR_SET_PDEATHSIG = 1


@dataclass
class Process:
    """A process and what it takes to start it again. `turn` is held by whoever troubles it."""

    name: str
    command: Sequence[object]
    environment: Mapping[str, str]
    log: Path
    descriptors: tuple[int, ...] = ()
    user: int | None = None
    revive_seconds: float = 0.5
    wanted: bool = True
    starts: int = 0
    died_at: float | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in a session of its own; it dies with the thread that starts it, so that nothing is left behind."""
        words = [str(part) for part in self.command]
        options: dict[str, object] = {"user": self.user, "preexec_fn": _die_with_parent} if self.user else {}
        if not self.user:
            words = [sys.executable, "-m", "core.runtime.launcher", str(os.getpid()), *words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # type: ignore[call-overload]
                words,
                cwd=ROOT,
                env=dict(self.environment),
                pass_fds=self.descriptors,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )
        self.starts, self.died_at = self.starts + 1, None

    @property
    def pid(self) -> int:
        """The process id; 0 before the first start."""
        return self.process.pid if self.process else 0

    @property
    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.process is not None and self.process.poll() is None

    def tell(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        if self.alive and self.process is not None:
            self.process.send_signal(number)

    def tell_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all that descend from it."""
        if self.alive:
            for pid in (self.pid, *descendants(self.pid)):
                send(pid, number)

    def kill(self) -> None:
        """kill -9 of it and of what it has started, as a lost machine would."""
        self.tell_all(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def end(self, seconds: float, number: signal.Signals = signal.SIGTERM, dump: bool = False) -> float | None:
        """Ask it to end and wait; returns after how many seconds it did, None where it had to be killed.

        With `dump`, one that does not end is first asked to write where it stands into its log (Celery: SIGUSR1).
        """
        began = time.monotonic()
        self.tell(number)
        try:
            if self.process is not None:
                self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            if dump:
                self.tell(signal.SIGUSR1)
                time.sleep(1)
            self.kill()
            return None
        return time.monotonic() - began

    def logged(self, offset: int = 0) -> str:
        """Return what it has written since an offset of its log."""
        with self.log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")


def _die_with_parent() -> None:
    LIBRARY.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children, and so on, the parents first."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(status.read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(status.parent.name))
    found, waiting = [], [pid]
    while waiting:
        own = children.get(waiting.pop(0), [])
        found += own
        waiting += own
    return found


def command_of(pid: int) -> str:
    """Return the command line of a process; empty where it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def processes_about(folder: Path) -> list[int]:
    """Return the living processes whose environment or command names a folder, without this one."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            if str(folder).encode() in told and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found

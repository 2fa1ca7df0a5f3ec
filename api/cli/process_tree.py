"""The processes of `albatross serve`: started, restarted when they end, and ended together."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from core.disk import ROOT
from core.runtime.processes import harmless

log = logging.getLogger("albatross.serve")
TICK_SECONDS = 0.1
STOP_SECONDS = 25.0  # then what is left is killed; a job that was running goes back to the queue
BROKER_STOP_SECONDS = 2.0
FIRST_DELAY, MAX_DELAY = 0.5, 30.0
SETTLED_SECONDS = 60.0
FAILED_STARTS = 3


@dataclass
class Child:
    """One process of the tree and what to do when it dies."""

    name: str
    command: tuple[str, ...]
    descriptors: tuple[int, ...] = ()
    trusted: bool = True  # a program of others is not: it gets no credentials
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    delay: float = FIRST_DELAY
    deaths: int = 0

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process; always from the main thread, because the kernel watches the thread that forked."""
        launcher = (sys.executable, "-m", "core.runtime.launcher", str(os.getpid()))
        self.process = subprocess.Popen(
            (*launcher, *self.command),
            cwd=ROOT,
            env=environment if self.trusted else harmless(environment),
            pass_fds=self.descriptors,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        self.started_at = time.monotonic()
        say(f"started {self.name} (process {self.process.pid})")

    def alive(self) -> bool:
        """Say whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def note_exit(self) -> None:
        """Note the death and when to start again: later each time, unless it had lived for a while."""
        assert self.process is not None
        if time.monotonic() - self.started_at > SETTLED_SECONDS:
            self.delay, self.deaths = FIRST_DELAY, 0
        say(f"{self.name} ended with status {self.process.returncode}; starting it again in {self.delay:g} s")
        self.start_at, self.process = time.monotonic() + self.delay, None
        self.delay, self.deaths = min(2 * self.delay, MAX_DELAY), self.deaths + 1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if there is a process to take it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


@dataclass
class Tree:
    """The children in the order of their start."""

    children: list[Child]
    environment: Mapping[str, str]
    address: str
    worker_seen: Callable[[int], bool]
    when_ready: Callable[[], None]
    ready: bool = False
    failed: bool = False
    stop_asked_at: float | None = None
    impatient: bool = False
    next_probe: float = 0.0

    def run(self) -> int:
        """Keep the tree alive until it is asked to stop; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        try:
            while self.stop_asked_at is None and not self.failed:
                self._reap()
                if not self.ready:
                    self._probe()
                time.sleep(TICK_SECONDS)
        finally:
            self._stop()
        return 1 if self.failed else 0

    def _ask_to_stop(self, number: int, frame: object) -> None:
        if self.stop_asked_at is None:
            self.stop_asked_at = time.monotonic()
        else:  # a terminal and a process manager may both send the same request, so only a later one is a second one
            self.impatient = time.monotonic() - self.stop_asked_at > 1.0

    def _reap(self) -> None:
        for child in self.children:
            if child.process is None and time.monotonic() >= child.start_at:
                child.start(self.environment)
            elif not child.alive() and child.process is not None:
                child.note_exit()
                self.failed = self.failed or (not self.ready and child.deaths >= FAILED_STARTS)

    def _probe(self) -> None:
        if time.monotonic() < self.next_probe:
            return
        worker = next(child.process for child in self.children if child.name == "worker")
        try:
            # plain HTTP on this machine: to read the authorities of certificates takes longer than all else
            answers = httpx.get(f"{self.address}/readyz", timeout=5, verify=False).status_code == 200
        except httpx.TransportError:
            answers = False
        self.ready = answers and worker is not None and self.worker_seen(worker.pid)
        self.next_probe = time.monotonic() + 0.2
        if self.ready:
            say(f"Albatross is ready at {self.address} (docs: {self.address}/docs)")
            self.when_ready()

    def _stop(self) -> None:
        say("stopping: running jobs go back to the queue" if self.ready else "stopping")
        last = [child for child in self.children if child.name == "broker"]  # the others still talk to it
        self._end([child for child in self.children if child not in last], STOP_SECONDS)
        self._end(last, BROKER_STOP_SECONDS)

    def _end(self, children: list[Child], seconds: float) -> None:
        for child in children:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(child.alive() for child in children) and time.monotonic() < deadline and not self.impatient:
            time.sleep(TICK_SECONDS)
        for child in children:
            if child.alive():
                say(f"killing {child.name}")
            child.signal(signal.SIGKILL)
            if child.process is not None:
                child.process.wait()


def say(words: str) -> None:
    """Log what happens to the tree."""
    log.info("%s", words)

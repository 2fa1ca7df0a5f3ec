"""The supervisor's end of the trainer: start it, talk to it, stop it, and make sure that it is gone."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from core.disk import ROOT
from core.errors import JobFailure
from core.runtime.printed import kept_output
from core.runtime.printed.known_code import KnownCode
from core.runtime.printed.output_log import About, OutputLog
from core.settings import Settings
from worker.device import ORDER, USUAL_ORDER, VISIBLE, device, is_gpu
from worker.protocol import Check, Failed, Finished, Line, Ready, Run, Stop, Stopped, from_line, to_line
from worker.trainer import sandbox
from worker.trainer.sandbox import Cage

log = logging.getLogger(__name__)
# all that a trainer inherits: no address and no credential of the database, the broker or the store
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", VISIBLE, ORDER, "OMP_NUM_THREADS")
# what torch's allocator reads, the first where both are set
ALLOCATOR = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
# batches differ in size: segments that grow leave no gaps behind that nothing fits into
SEGMENTS = "expandable_segments:True"
# what holds wherever torch runs: offline, reproducible on CUDA, and no threads that spin while they wait, which slow
# everything else on a small machine by an order of magnitude
FIXED = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONUNBUFFERED": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
DUMP_SECONDS = 2.0
# for its memory to be taken apart; while a driver holds a process, the kernel does not end it
KILL_SECONDS = 30.0
STUCK = "the trainer's process %d does not end though it is killed: a driver holds it; look into the kernel log"
MAX_LINE = 4 << 20  # characters; a message of a hundred captions has 200,000
MAX_SAID = 256 << 20  # characters of one attempt, most of which the database keeps; a long job says some 20 << 20
SAID_TOO_MUCH = "The trainer said more than it may; the operator finds it in the worker's log."
MAX_WAITING = 64 << 20  # characters of lines that are not received yet; until then a trainer computes on


class TrainerDied(Exception):
    """The trainer ended without saying why; a signal shows as a negative `returncode`, or as 128 + N in a sandbox."""

    def __init__(self, returncode: int | None) -> None:
        super().__init__(f"the trainer ended with {returncode}")
        self.returncode = returncode


def environment(settings: Settings, cage: Cage, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return all that the trainer's environment holds; a job's temporary files go to the job's own folder."""
    kept = {name: inherited[name] for name in INHERITED if name in inherited}
    if settings.threads:
        kept["OMP_NUM_THREADS"] = str(settings.threads)
    return kept | fixed(settings, inherited) | {"PYTHONPATH": str(ROOT), "TMPDIR": str(cage.work)}


def fixed(settings: Settings, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what holds wherever torch runs; of a GPU the operator's own choice, or else what we count and allocate by.

    Where the CPU is computed on there is no GPU to be seen: none of a library's calls can begin with one.
    """
    if not is_gpu(device(settings)):
        return FIXED | {VISIBLE: ""}
    chosen = {name: inherited[name] for name in ALLOCATOR if name in inherited} or {ALLOCATOR[-1]: SEGMENTS}
    return FIXED | {ORDER: inherited.get(ORDER, USUAL_ORDER)} | chosen


def command(settings: Settings, cage: Cage) -> list[str]:
    """Return the command line that runs the trainer as a child that dies with this process, in a sandbox if it may."""
    program = shlex.split(settings.trainer) if settings.trainer else [sys.executable, "-m", "worker.trainer"]
    limits = ["--file-bytes", str(settings.max_trainer_file_bytes)]
    if sandbox.active(settings):
        program = sandbox.wrap(program, settings, cage)  # which forbids new privileges by itself
    else:
        limits.append("--no-new-privileges")
    return [sys.executable, "-m", "core.runtime.launcher", *limits, str(os.getpid()), *program]


class Trainer:
    """One running trainer process. Make it in the main thread: the kernel ties its life to the thread that forks."""

    def __init__(self, settings: Settings, cage: Cage) -> None:
        self._settings = settings
        self._sandboxed = sandbox.active(settings)
        self.made = cage.made()
        self._process = subprocess.Popen(
            command(settings, cage),
            env=environment(settings, cage),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._utterances = OutputLog(self._process.stderr, "trainer", KnownCode(settings.data))
        self._lines: queue.Queue[tuple[Line | None, int]] = queue.Queue()
        self._read_so_far = self._received = self._said = 0  # characters; each is written by one thread
        self._killed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """The process id; also that of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Tell whether the process runs, and nobody has ended it."""
        return not self._killed.is_set() and self._process.poll() is None

    def run(self, folder: Path) -> None:
        """Give it a job."""
        kept = kept_output.open_for(self._settings, folder.parent.name, folder.name)
        self._said = 0
        self._utterances.begin(About(folder.name.rpartition("-e")[0], kept))
        self._say(Run(str(folder)))

    def check(self, device: str) -> None:
        """Ask it whether a device can be computed on."""
        self._say(Check(device))

    def receive(self, seconds: float) -> Line | None:
        """Wait that long for a line; None where there was none. Raises TrainerDied, and JobFailure for a flood."""
        try:
            line, length = self._lines.get(timeout=seconds)
        except queue.Empty:
            return None
        self._received += length
        self._said += length
        if self._said > MAX_SAID:
            log.error("the trainer said more than %d characters of one job", MAX_SAID)
            self.kill()
            raise JobFailure(SAID_TOO_MUCH, code="internal_error")
        if line is None:
            self.kill()
            raise TrainerDied(self._process.returncode)
        return None if isinstance(line, Ready) else line

    def stop(self, grace_seconds: float, heard: Callable[[Line], None]) -> bool:
        """Ask it to leave the job after the present step; it is killed, and False returned, when it does not.

        `heard` gets what it says until then, and what it had said that nobody has heard yet.
        """
        self._say(Stop())
        deadline = time.monotonic() + grace_seconds
        with contextlib.suppress(TrainerDied, JobFailure):
            while time.monotonic() < deadline:
                line = self.receive(0.1)
                if isinstance(line, Stopped | Finished | Failed):
                    return True
                if line is not None:
                    began = time.monotonic()
                    heard(line)
                    deadline += time.monotonic() - began
        self.kill()
        return False

    def dump_and_kill(self) -> None:
        """Have it write all its stacks to the log, then end it."""
        self._abort()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(DUMP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it and everything that it started; one that a driver keeps from ending is left to itself."""
        self._killed.set()
        self._signal(signal.SIGKILL)
        try:
            self._process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            log.error(STUCK, self.pid)
        self._utterances.end()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def _abort(self) -> None:
        if not self._sandboxed:
            self._signal(signal.SIGABRT)
            return
        with contextlib.suppress(ProcessLookupError):  # to the program alone: the sandbox would end it, and its words
            os.kill(sandbox.program_of(self.pid), signal.SIGABRT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _say(self, line: Line) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has died: receive() will say so
            self._process.stdin.write(to_line(line))

    def _read(self) -> None:
        """Hand on what it says; one that says too much is held up, and one that talks nonsense is heard no more."""
        assert self._process.stdout is not None
        try:
            with self._process.stdout as lines:
                while text := lines.readline(MAX_LINE):
                    while self._read_so_far - self._received > MAX_WAITING and not self._killed.wait(0.05):
                        pass
                    self._read_so_far += len(text)
                    self._lines.put((from_line(text), len(text)))
        except ValueError:
            log.error("the trainer sent what is not a line of the protocol")
        self._lines.put((None, 0))


class WarmTrainer:
    """Keeps at most one trainer, with its backbone loaded, for the next job of backbone and account, for a while."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._for: tuple[str, Cage] | None = None
        self._trainer: Trainer | None = None
        self._timer: threading.Timer | None = None

    def take(self, backbone: str, cage: Cage) -> Trainer:
        """Return a trainer for the backbone in the cage of an account: the warm one, or a new one in its place.

        One that another account's upload has taken over would see this one's data, and have its job's word for it.
        """
        self._disarm()
        warm = self._trainer
        # a work folder that was erased and made again is another one, of which a sandbox sees nothing
        if warm is None or not warm.alive or self._for != (backbone, cage) or warm.made != cage.made():
            self.discard()
            warm = self._trainer = Trainer(self._settings, cage)
            self._for = backbone, cage
        return warm

    def rest(self) -> None:
        """Keep the trainer for the next job, but not for ever: it holds the memory of a GPU."""
        if self._trainer is not None:
            self._timer = threading.Timer(self._settings.trainer_idle_seconds, self._trainer.kill)
            self._timer.daemon = True
            self._timer.start()

    def discard(self) -> None:
        """End the trainer, if there is one."""
        self._disarm()
        if self._trainer is not None:
            self._trainer.kill()
        self._trainer = None

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # it may be killing just now
        self._timer = None

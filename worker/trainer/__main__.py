"""The process that trains: takes jobs over a pipe, one after the other, and keeps its backbone loaded in between.

Standard output carries the protocol and nothing else; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import faulthandler
import os
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path

from core.runtime.launcher import LAUNCHED_AS
from core.runtime.logs import traceback_of
from worker.job_folder import JobFolder
from worker.protocol import Check, Checked, Failed, Finished, Line, Ready, Run, Stop, Stopped, from_line, to_line
from worker.trainer import gpu_check
from worker.trainer.failures import failure
from worker.trainer.gpu_use import UseReports

Work = Callable[[JobFolder], Generator[Line, None, None]]


class Pipe:
    """The trainer's end: jobs come in, lines go out, and a Stop is seen at once whatever the main thread does."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._jobs: queue.Queue[Run | Check] = queue.Queue()
        self.stopping = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, line: Line) -> None:
        """Send one line."""
        self._out.write(to_line(line))

    def next_job(self) -> Run | Check:
        """Wait for a job, or for the question whether there could be any."""
        return self._jobs.get()

    def _listen(self) -> None:
        for text in sys.stdin:
            match from_line(text):
                case Run() as run:
                    self.stopping.clear()  # here, not by the main thread: a Stop may follow at once
                    self._jobs.put(run)
                case Check() as question:
                    self._jobs.put(question)
                case Stop():
                    self.stopping.set()
        os._exit(0)  # the supervisor is gone


def serve(work: Work, check: Callable[[str], Checked] = gpu_check.check) -> None:
    """Answer jobs until the pipe closes; `work` yields lines, and is closed between two of them to stop."""
    faulthandler.enable(all_threads=True)  # so that SIGABRT shows where a stalled trainer hangs
    pipe = Pipe()
    pipe.say(Ready(int(os.environ.get(LAUNCHED_AS, os.getpid()))))
    while True:
        asked = pipe.next_job()
        if isinstance(asked, Check):
            pipe.say(check(asked.device))
            continue
        folder = JobFolder(Path(asked.folder))
        _keep_temporary_files_in(folder)
        pipe.say(_answer(pipe, work(folder)))


def _keep_temporary_files_in(folder: JobFolder) -> None:
    """Let whatever a library writes for a moment go with the job's folder, also where this process is killed."""
    folder.temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder.temporary)


def _answer(pipe: Pipe, lines: Generator[Line, None, None]) -> Finished | Stopped | Failed:
    """Send what the job yields, to its end or to the first step after a Stop; returns how it ended."""
    reports = UseReports()
    try:
        for line in lines:
            pipe.say(line)  # first: what is saved on the way out counts it as said
            if (use := reports.due(line)) is not None:
                pipe.say(use)
            if pipe.stopping.is_set():
                return Stopped()
        return Finished()
    except Exception as error:
        print(traceback_of(error), file=sys.stderr)
        return failure(error)
    finally:
        lines.close()


def main() -> None:
    from worker.stages import run  # imports torch

    serve(run)


if __name__ == "__main__":
    main()

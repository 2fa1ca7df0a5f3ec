"""Programs that load what we publish, each in a process that can import none of our code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
Reader = Callable[[Mapping[str, object]], dict[str, float]]


def run_stranger(program: str, *arguments: object, cwd: Path, seconds: float = 300) -> str:
    """Run a program of this folder isolated, in `cwd`; returns what it printed."""
    command = [*isolated(program, cwd), *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds, env=environment(cwd))
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def strange_reader(program: str, cwd: Path) -> Iterator[Reader]:
    """Give a function that sends a line of JSON to a program of this folder, and returns the line that it answers."""
    log = (cwd / "stranger.log").open("w+")
    process = subprocess.Popen(
        isolated(program, cwd),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment(cwd),
    )

    def ask(question: Mapping[str, object]) -> dict[str, float]:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(question), file=process.stdin, flush=True)
        answer = process.stdout.readline()
        assert answer, Path(log.name).read_text()[-3000:]
        return json.loads(answer)

    with log, process:
        try:
            yield ask
        finally:
            process.kill()


def isolated(program: str, cwd: Path) -> list[str]:
    """Return the command that runs a program away from the repository, so that nothing of it lies beside."""
    own = cwd / program
    own.write_text((HERE / program).read_text())
    return [sys.executable, "-I", str(own)]


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

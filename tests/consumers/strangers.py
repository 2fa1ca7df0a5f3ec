"""Programs that load what we publish, each in a process that can import none of our code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def run_stranger(program: str, *arguments: object, cwd: Path, seconds: float = 300) -> str:
    """Run a program of this folder isolated, in `cwd`; returns what it printed."""
    own = cwd / program
    own.write_text((HERE / program).read_text())  # away from the repository, so that nothing of it lies beside
    command = [sys.executable, "-I", own, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout

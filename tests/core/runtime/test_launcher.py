from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.worker.floor import ROOT, gone

CHILD = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
PARENT = f"""
import os, subprocess, sys, time
child = [sys.executable, "-c", {CHILD!r}, sys.argv[1]]
subprocess.Popen([sys.executable, "-m", "core.runtime.launcher", str(os.getpid()), *child], start_new_session=True)
time.sleep(60)
"""


def test_a_launched_program_dies_with_its_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(note)], cwd=ROOT) as parent:
        while not (note.exists() and note.read_text()):
            time.sleep(0.02)
        child = int(note.read_text())
        assert not gone(child)
        parent.kill()
    deadline = time.monotonic() + 30
    while not gone(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_whose_parent_is_already_gone_never_starts(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    program = [sys.executable, "-m", "core.runtime.launcher", "1", sys.executable, "-c", CHILD, str(note)]
    assert subprocess.run(program, cwd=ROOT, timeout=60).returncode == 1
    assert not note.exists()

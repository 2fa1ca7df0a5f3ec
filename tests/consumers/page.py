"""The commands of docs/using-your-adapter.md, taken from the page and run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.worker.floor import ROOT

PAGE = (ROOT / "docs/using-your-adapter.md").read_text()
BLOCK = re.compile(r"(?:<!-- (not run|run): ([\w -]+) -->\n)?```(sh|python)\n(.*?)```", re.DOTALL)
BLOCKS = [(found[1], found[2], found[3], found[4]) for found in BLOCK.finditer(PAGE)]


def blocks(place: str) -> list[tuple[str, str]]:
    """The language and text of all blocks that belong to a place, in order."""
    return [(language, text) for what, where, language, text in BLOCKS if what == "run" and place in where.split()]


def work(place: str, folder: Path, environment: dict[str, str] | None = None) -> list[str]:
    """Run a place's blocks in its folder, Python in isolation; returns what each printed."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "albatross").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m api.cli "$@"\n')
    (tools / "albatross").chmod(0o755)
    chosen = environment or {}
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    printed = []
    for language, text in blocks(place):
        command = [sys.executable, "-I", "-c", text] if language == "python" else ["bash", "-euc", text]
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            env={"PATH": path, "HOME": str(folder), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **chosen},
        )
        assert done.returncode == 0, f"{text}\n{done.stderr[-3000:]}"
        printed.append(done.stdout)
    return printed


def put_on_the_hub(name: str, backbone: Path, home: Path) -> None:
    """Let a home hold a hub's model as if it had been fetched before: there is no network in tests."""
    fetched = home / ".cache/huggingface/hub" / f"models--{name.replace('/', '--')}"
    (fetched / "refs").mkdir(parents=True)
    (fetched / "refs/main").write_text("0" * 40)
    (fetched / "snapshots").mkdir()
    (fetched / "snapshots" / ("0" * 40)).symlink_to(backbone)

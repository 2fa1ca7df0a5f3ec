"""What a health check learns of a process without an address."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.disk import ROOT
from core.runtime.pulse import FORGOTTEN_SECONDS, PATIENCE_SECONDS, ROUNDS, Kind, Pulse
from core.settings import Settings


def file_of(data: Path) -> Path:
    (path,) = (data / "work").iterdir()
    return path


def aged(path: Path, seconds: float) -> None:
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@pytest.mark.parametrize("kind", ["dispatcher", "worker"])
def test_a_process_lives_from_its_first_round_to_its_end(tmp_path: Path, kind: Kind) -> None:
    pulse = Pulse(Settings(data=tmp_path), kind)
    assert not pulse.beats()
    pulse.beat()
    assert pulse.beats()
    pulse.end()
    assert not pulse.beats()


def test_a_process_that_goes_no_rounds_any_more_is_dead(tmp_path: Path) -> None:
    pulse = Pulse(Settings(data=tmp_path, heartbeat_seconds=2), "worker")
    pulse.beat()
    aged(file_of(tmp_path), PATIENCE_SECONDS + ROUNDS * 2 + 1)
    assert not pulse.beats()
    pulse.beat()
    assert pulse.beats()


def test_the_files_of_hosts_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    old, young, other = (tmp_path / "work" / name for name in ("worker@old", "worker@young", "dispatcher@old"))
    for path in (old, young, other):
        path.touch()
    for path in (old, other):
        aged(path, FORGOTTEN_SECONDS + 1)
    Pulse(Settings(data=tmp_path), "worker").beat()
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_where_it_can_not_be_written_the_process_goes_on(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("no folder")
    Pulse(Settings(data=tmp_path), "worker").beat()


def test_a_check_of_nothing_says_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "core.runtime.pulse", "broker"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "dispatcher|worker" in done.stderr) == (1, True)

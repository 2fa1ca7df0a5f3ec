"""The systemd units: what they run exists, and the worker's take nothing from the trainer's sandbox."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from api.cli import service
from core.disk import ROOT
from core.settings import Settings
from worker.trainer.process import INHERITED

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
WORKER = ROOT / "deploy/systemd/albatross-worker@.service"
VENV = "/srv/albatross/venv"
# each keeps bubblewrap from making its namespaces or its own /proc, or hides the GPU from the trainer
BREAKING = {
    "RestrictNamespaces",
    "PrivateUsers",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelLogs",
    "ProtectHostname",
    "ProtectProc",
    "ProcSubset",
    "SystemCallFilter",
    "MemoryDenyWriteExecute",
}


def told(unit: Path) -> dict[str, str]:
    """What a unit sets, whatever the section."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_what_a_unit_runs_exists(unit: Path) -> None:
    program, *words = told(unit)["ExecStart"].split()
    if program == f"{VENV}/bin/python":
        assert words[0] == "-m"
        name = f"{words[1]}.__main__" if (ROOT / words[1].replace(".", "/")).is_dir() else words[1]
        assert importlib.util.find_spec(name) is not None
    else:
        assert program == f"{VENV}/bin/albatross"
        assert words[0] in {command.name for command in service.COMMANDS.registered_commands}


def test_every_setting_in_a_unit_is_a_setting_of_the_code() -> None:
    named = {name for unit in UNITS for name in re.findall(r"ALBATROSS_([A-Z_]+)", unit.read_text())}
    assert named - {name.upper() for name in Settings.model_fields} == set()


def test_nothing_of_the_workers_unit_takes_the_sandbox_or_the_gpu_from_the_trainer() -> None:
    assert told(WORKER).keys() & BREAKING == set()


def test_a_worker_has_the_gpu_of_its_instance_and_is_told_alone_to_stop() -> None:
    unit = told(WORKER)
    assert "CUDA_VISIBLE_DEVICES=%i" in unit["Environment"].split()
    assert "CUDA_VISIBLE_DEVICES" in INHERITED
    assert unit["KillMode"] == "mixed"
    assert int(unit["TimeoutStopSec"]) > 2 * Settings.model_fields["cancel_grace_seconds"].default


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(VENV, sys.prefix))
    names = [unit.name.replace("@.", "@0.") for unit in UNITS]
    (tmp_path / "albatross-worker@.service").rename(tmp_path / "albatross-worker@0.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", *(f"./{name}" for name in names)], cwd=tmp_path, stderr=subprocess.PIPE
    )
    assert (done.returncode, [line for line in done.stderr.decode().splitlines() if "albatross" in line]) == (0, [])

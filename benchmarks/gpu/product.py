"""The product on the device: what it says of it, whole jobs of both families, and the trainer in its sandbox."""

from __future__ import annotations

import contextlib
import glob
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.backbones import REFERENCES, language_folder
from benchmarks.gpu.measuring import Facts, cuda
from benchmarks.gpu.setup import Setup
from core.backbones.registry import Registry
from core.disk import ROOT
from core.settings import Settings
from worker.commands.calibrate import calibrate
from worker.device import device, hardware
from worker.trainer import sandbox
from worker.trainer.process import environment as trainer_environment
from worker.trainer.sandbox import Cage

LIBRARIES = ("diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy", "pydantic", "huggingface_hub")
REPORTED = ("gamma", "published_step", "last_step", "reference_change", "forgetting", "formats", "score_reliability")
TOY: dict[str, Any] = {"max_steps": 6, "surrogate_steps": 4, "sample_ratio": 0.05, "folds": 2, "selected_count": 4}
JOB_SECONDS, KEPT_SECONDS = 180.0, 60.0  # the longest wait for the jobs, and what is left for the parts after them
PROBE = "import torch; print('cuda', torch.cuda.is_available()); print(float(torch.ones(4, device='{}').sum()))"


def environment(setup: Setup) -> Facts:
    """Versions, the device, and what the service says of it."""
    found: Facts = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "bwrap": shutil.which("bwrap"),
        "device_files": sorted(glob.glob("/dev/nvidia*")),
        "proc": sorted(glob.glob("/proc/driver/nvidia/gpus/*/information")),
    }
    for name in LIBRARIES:
        with contextlib.suppress(ImportError, AttributeError):
            found[name] = importlib.import_module(name).__version__
    settings = Settings(data=setup.data)
    found |= {"device() says": device(settings), "hardware() says": hardware(settings)}
    if cuda():
        found["gpu"] = torch.cuda.get_device_name()
        found["mem_get_info"] = [round(n / 2**30, 1) for n in torch.cuda.mem_get_info()]
        found["tf32"] = [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    return found


def start_jobs(setup: Setup) -> Facts:
    """Begin `albatross train` of both families, beside the parts that time nothing."""
    registry, texts = Registry.load(setup.settings()), ROOT / "demo/texts"
    registry.add(
        "random-llama",
        language_folder(setup.folder, setup.size("135m", "toy")),
        licence="x",
        pool=texts / "pool.jsonl",
        defaults={"rank": 8, "max_tokens": 96, "sample_ratio": setup.size(1.0, 0.05)},
    )
    _start(setup, "images", "emoji-ldm", REFERENCES / "cat", TOY if setup.tiny else {})
    short: dict[str, Any] = {"max_steps": 40, "surrogate_steps": 24}
    _start(setup, "texts", "random-llama", texts / "references/pirate.jsonl", TOY if setup.tiny else short)
    return {"started": sorted(setup.jobs)}


def _start(setup: Setup, name: str, backbone: str, references: Path, bat: dict[str, Any]) -> None:
    words = ["--backbone", backbone, "--references", str(references), "--bat", json.dumps(bat)]
    command = [sys.executable, "-m", "worker.commands.train", *words, "--out", str(setup.folder / f"out-{name}")]
    variables = {"ALBATROSS_DATA": str(setup.data), "ALBATROSS_DEVICE": "cuda" if cuda() else "cpu"}
    with (setup.folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT)
    setup.jobs[name] = process, time.monotonic()


def end_jobs(setup: Setup) -> Facts:
    """Wait for the jobs, and say what came of them."""
    return {name: _ended(setup, name) for name in setup.jobs}


def _ended(setup: Setup, name: str) -> Facts:
    process, began = setup.jobs[name]
    left = min(JOB_SECONDS, setup.seconds_left - KEPT_SECONDS)
    status: int | str = "took too long"
    with contextlib.suppress(subprocess.TimeoutExpired):
        status = process.wait(setup.size(max(5.0, left), 900.0))
    process.kill()
    log = (setup.folder / f"{name}.log").read_text(errors="replace")
    found: Facts = {
        "rc": status,
        "seconds": round(time.monotonic() - began, 1),
        "log": log[-1500 if status else -300 :],
    }
    report = setup.folder / f"out-{name}/report.json"
    if report.exists():
        content = json.loads(report.read_text())
        found |= {key: content.get(key) for key in REPORTED}
    return found


def trainer_and_sandbox(setup: Setup) -> Facts:
    """Whether a trainer finds CUDA, plainly and inside bubblewrap; and a calibration there."""
    works = sandbox.works()
    found: Facts = {"bwrap works": works}
    settings = setup.settings()
    settings.data.mkdir(exist_ok=True)
    program, cage = [sys.executable, "-c", PROBE.format(setup.device)], Cage(settings.data / "work")
    commands = {"plain": program} | ({"sandbox": sandbox.wrap(program, settings, cage)} if works else {})
    for name, command in commands.items():
        done = subprocess.run(
            command, env=trainer_environment(settings, cage), cwd=ROOT, capture_output=True, text=True, timeout=90
        )
        found[name] = {"rc": done.returncode, "out": done.stdout[-300:], "err": done.stderr[-800:]}
    if setup.tiny:
        return found
    inside = found.get("sandbox", {}).get("rc") == 0
    return found | {f"calibrate, sandbox {'require' if inside else 'off'}": _calibrated(setup, inside)}


def _calibrated(setup: Setup, inside: bool) -> Facts:
    settings = setup.settings("require" if inside else "off")
    began = time.monotonic()
    measured = calibrate(Registry.load(settings).get("emoji-ldm"), settings)[0]
    return {
        "seconds": round(time.monotonic() - began, 1),
        "device": measured.device,
        "kinds": {
            stage: {kind: _amount(each) for kind, each in work["kinds"].items()}
            for stage, work in measured.work.items()
        },
        "stages": {stage: round(work["seconds"], 2) for stage, work in measured.work.items()},
        "memory": {stage: work["memory"] for stage, work in measured.work.items()},
    }


def _amount(of: dict[str, float]) -> list[float]:
    return [of["calls"], round(of["units"], 1), round(of["seconds"], 3)]

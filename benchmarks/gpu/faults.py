"""Real faults of the device, each in a process of its own, and by which code the trainer tells them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.gpu.measuring import Facts, cuda
from benchmarks.gpu.setup import Setup
from core.disk import ROOT
from worker.trainer.failures import failure
from worker.trainer.gpu_check import check
from worker.trainer.gpu_use import use
from worker.trainer.process import fixed

TOO_MUCH = 1 << 46  # bytes that no machine has
PROVOKE_SECONDS = 120


def _lack(device: str) -> None:
    torch.empty(TOO_MUCH, dtype=torch.uint8, device=device)


def _fail_assertion(device: str) -> None:
    torch.zeros(4, device=device)[torch.tensor([9], device=device)].sum().item()


PROVOKED: dict[str, tuple[Callable[[str], None], str]] = {
    "more memory than there is": (_lack, "out_of_memory"),
    "an index beyond the end": (_fail_assertion, "gpu_fault"),
}


def faults(setup: Setup) -> Facts:
    """Provoke faults, check the GPU, hide it, and say what it takes; raises where one is taken for another."""
    found: Facts = {name: _told(setup, name) for name in PROVOKED}
    if not cuda():
        return found
    for name, (_, code) in PROVOKED.items():
        assert found[name] == code, f"{name} is told as {found[name]}"
    found["check"] = _told(setup, "check")
    assert found["check"]["code"] is None, found["check"]
    for hidden in ("", "99"):
        found[f"hidden by {hidden!r}"] = told = _told(setup, "check", hidden)
        assert told["code"] == "gpu_hidden", told
    taken = use()
    assert taken is not None
    return found | {"use": asdict(taken)}


def _told(setup: Setup, name: str, visible: str | None = None) -> Any:
    variables = os.environ | fixed(setup.settings()) | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
    command = [sys.executable, "-m", "benchmarks.gpu.faults", name, setup.device]
    done = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PROVOKE_SECONDS, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(name: str, device: str) -> None:
    """Provoke one, and print the code that the trainer tells."""
    if name == "check":
        print(json.dumps(asdict(check(device))))
        return
    try:
        PROVOKED[name][0](device)
        print(json.dumps("none"))
    except Exception as error:
        print(json.dumps(failure(error).code))


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # what a device has failed at may fail again on a process's usual way out

"""Saves where a stage stands to the job's folder: safetensors and JSON, whole and checksummed, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from core.method.training.resuming import State
from core.method.transfers import to_host
from core.parameters.memory import usual_precision
from worker.job_folder import JobFolder, write_json
from worker.protocol import Json

VALUES, TENSORS, KEPT = "state.json", "tensors.safetensors", "kept"
# what may differ between two attempts that can take over from each other: it changes no number
# (from style_always on they never do, but states from before they were known don't hold them)
CHANGEABLE = (
    *("accumulation", "checkpointing", "gradients", "reasons"),
    *("style_always", "past_best", "preset_basis", "caption_lines", "shapes", "masks"),
)


class StageKeeper:
    """Saves a stage about every `seconds`, and when it is told to stop; `beside` is what the stage itself remembers."""

    def __init__(self, folder: JobFolder, stage: str, seconds: float) -> None:
        self.folder, self.stage, self.seconds = folder, stage, seconds
        self.beside: Json = {}
        self.resumed = False  # whether a state was found, until somebody has taken note
        self._saved_at = time.monotonic()
        self._news = False

    def found(self) -> State | None:
        """Return the newest state that is whole and belongs to this very job; fills `beside` in place."""
        path = self.folder.saved(self.stage)
        if path is None:
            return None
        stored = json.loads((path / VALUES).read_text())
        if stored["job"] != fingerprint(self.folder):
            return None
        self.beside.clear()
        self.beside.update(stored["beside"])
        self.resumed = True
        kept = {name: load_file(path / file) for name, file in stored["kept"].items()}
        return State(stored["values"], load_file(path / TENSORS), kept)

    def offer(self, state: Callable[[], State]) -> None:
        """Save where the last save is old enough."""
        if time.monotonic() - self._saved_at >= self.seconds:
            self.leave(state)

    def leave(self, state: Callable[[], State]) -> None:
        """Save now."""
        _write(self.folder, self.stage, state(), self.beside)
        self._saved_at, self._news = time.monotonic(), True

    def news(self) -> bool:
        """Tell whether something was saved since the last call."""
        told, self._news = self._news, False
        return told


def fingerprint(folder: JobFolder) -> str:
    """Hash all of the job that a state depends on."""
    told = folder.spec()
    parameters = {name: value for name, value in told["parameters"].items() if name not in CHANGEABLE}
    if parameters.get("precision") == usual_precision(parameters["device_class"]):
        del parameters["precision"]  # as states from before there was a choice, which don't hold it
    content = json.dumps([parameters, told["backbone"]["sha256"]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _write(folder: JobFolder, stage: str, state: State, beside: Json) -> None:
    before = folder.saved(stage)
    with folder.saving(stage) as draft:
        save_file(_plain(state.tensors), draft / TENSORS)
        (draft / KEPT).mkdir()
        names = {name: f"{KEPT}/{name.replace('/', '.')}.safetensors" for name in state.kept}
        for name, tensors in state.kept.items():
            _keep(tensors, draft / names[name], before / names[name] if before else None)
        content = {"job": fingerprint(folder), "values": state.values, "beside": beside, "kept": names}
        write_json(draft / VALUES, content)


def _keep(tensors: dict[str, Tensor], file: Path, before: Path | None) -> None:
    """Write a copy that never changes, or take it over from the save before."""
    if before is not None and before.is_file():
        os.link(before, file)
    else:
        save_file(_plain(tensors), file)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    held = to_host(list(tensors.values()))
    return {name: tensor.contiguous() for name, tensor in zip(tensors, held, strict=True)}

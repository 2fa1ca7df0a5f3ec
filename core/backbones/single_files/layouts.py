"""The configuration of a checkpoint's parts, which its one file does not hold: it travels with Albatross."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from core.backbones.folders.files import json_object
from core.backbones.single_files.recognising import SIDES, Checkpoint
from core.disk import write_json

LAYOUTS = Path(__file__).parent
LATENT = 8  # pixels a side of what one latent of a usual VAE stands for
WEIGHTS = shutil.ignore_patterns("*.safetensors", "*.bin", ".*")


def write_layout(checkpoint: Checkpoint, folder: Path, given: Path | None = None) -> None:
    """Write the configuration of every part into an empty folder, from the usual sizes or from a folder that fits."""
    if given is None:
        parts = json.loads((LAYOUTS / f"{checkpoint.family}.json").read_text(encoding="utf-8"))
        for name, content in parts.items():
            write_json(folder / name, content)
        if checkpoint.side != SIDES[checkpoint.family]:
            _change(folder, "unet/config.json", sample_size=checkpoint.side // LATENT)
    else:
        shutil.copytree(given, folder, dirs_exist_ok=True, ignore=WEIGHTS)
    changed: dict[str, object] = {"prediction_type": checkpoint.objective}
    if checkpoint.zero_snr:  # 2305.08891, sections 3.1 and 3.3
        changed |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    _change(folder, "scheduler/scheduler_config.json", **changed)


def _change(folder: Path, name: str, **values: object) -> None:
    write_json(folder / name, json_object(folder, name) | values)

"""The step of a backbone's sides, from its configurations."""

from __future__ import annotations

import json
from pathlib import Path

from core.backbones.sides import side_step
from core.disk import ROOT


def test_the_step_is_what_vae_and_network_halve_a_side_by(tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    assert side_step(tiny_diffusion_folder) == 8  # one halving each, and pipelines draw multiples of 8
    assert side_step(ROOT / "demo/emoji_ldm/weights") == 8
    usual = {"vae": [128, 256, 512, 512], "unet": [320, 640, 1280, 1280]}
    for part, channels in usual.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps({"block_out_channels": channels}))
    assert side_step(tmp_path) == 64


def test_a_folder_that_is_not_here_has_no_step(tmp_path: Path) -> None:
    assert side_step(tmp_path / "gone") is None
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("[]")
    assert side_step(tmp_path) is None

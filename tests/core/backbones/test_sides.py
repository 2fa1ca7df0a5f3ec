"""The step of a backbone's sides, from its configurations."""

from __future__ import annotations

from pathlib import Path

from core.backbones.sides import side_step
from core.disk import ROOT


def test_the_step_is_what_vae_and_network_halve_a_side_by(tiny_diffusion_folder: Path) -> None:
    assert side_step(tiny_diffusion_folder) == 4  # one halving each
    assert side_step(ROOT / "demo/emoji_ldm/weights") == 8


def test_a_folder_that_is_not_here_has_no_step(tmp_path: Path) -> None:
    assert side_step(tmp_path / "gone") is None
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/config.json").write_text("[]")
    assert side_step(tmp_path) is None

"""The step of a backbone's sides, from its configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.backbones.record import describe
from core.backbones.sides import side_step, step_missed
from core.disk import ROOT
from core.errors import InvalidInput
from core.parameters.contradictions import check
from core.parameters.request import BatRequest
from tests.core.backbones.test_folders import change
from tests.core.parameters.test_resolving import EMOJI
from tests.families.images import write_images


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


def test_a_transformer_draws_no_square_that_is_no_whole_number_of_patches(tmp_path: Path) -> None:
    for part, said in {"vae": {"block_out_channels": [128, 256, 512, 512]}, "transformer": {"patch_size": 1}}.items():
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text(json.dumps(said))
    assert (step_missed(tmp_path, 1000), step_missed(tmp_path, 1008)) == (16, None)


def test_a_unet_fills_up_what_it_halves(tiny_diffusion_folder: Path) -> None:
    assert step_missed(tiny_diffusion_folder, 1001) is None


def test_a_flow_is_not_registered_nor_asked_for_a_side_that_it_can_not_draw(tmp_path: Path) -> None:
    folder = write_images("flux1", tmp_path / "flux")
    with pytest.raises(InvalidInput, match="no sides but multiples of 8; let --resolution"):
        describe("flux", folder, licence="CC0", resolution=20)
    change(folder / "vae/config.json", block_out_channels=[8, 8, 8, 8])
    record = EMOJI.model_copy(update={"id": "flux", "path": folder})
    with pytest.raises(InvalidInput, match="The backbone flux draws no sides but multiples of 16"):
        check(BatRequest(resolution=1000), record, "images", 4)
    check(BatRequest(resolution=1008), record, "images", 4)

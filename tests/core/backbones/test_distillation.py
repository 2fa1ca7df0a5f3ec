"""Models that draw in few steps: known by name or configuration, warned of, and drawn with as they are made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli import __main__ as cli
from core.backbones.folders.distillation import distilled
from core.backbones.record import describe
from tests.core.backbones.test_folders import change
from tests.families.images import SIDE, write_images

SCHNELL: dict[str, object] = {"shift": 1.0, "use_dynamic_shifting": False}
DEV: dict[str, object] = {"shift": 3.0, "use_dynamic_shifting": True}


@pytest.mark.parametrize(
    ("root", "name", "network", "more", "scheduler", "drawing"),
    [
        ("FluxPipeline", "my-flux", {"guidance_embeds": False}, {}, SCHNELL, (4, 0.0)),
        ("FluxPipeline", "FLUX.1-schnell", {}, {}, {}, (4, 0.0)),
        ("FluxPipeline", "FLUX.1-dev", {"guidance_embeds": True}, {}, DEV, None),
        ("FluxPipeline", "FLUX.1-dev-hyper-16steps", {"guidance_embeds": True}, {}, DEV, (16, 3.5)),
        ("FluxPipeline", "flux-dev-turbo", {"guidance_embeds": True}, {}, DEV, (8, 3.5)),
        ("FluxPipeline", "schnell-00steps", {}, {}, {}, (4, 0.0)),
        ("FluxPipeline", "OpenFLUX.1", {"guidance_embeds": False}, {}, SCHNELL, None),
        ("FluxPipeline", "flux-dev-de-distill", {"guidance_embeds": False}, {}, DEV, None),
        ("Flux2Pipeline", "FLUX.2-dev", {}, {}, DEV, None),
        ("Flux2Pipeline", "FLUX.2-dev-Turbo", {}, {}, DEV, (8, 2.5)),
        ("Flux2KleinPipeline", "x", {}, {"is_distilled": True}, {}, (4, 1.0)),
        ("Flux2KleinPipeline", "FLUX.2-klein-base-4B", {}, {"is_distilled": False}, {}, None),
        ("Flux2KleinPipeline", "flux-2-klein-base-9b", {}, {}, {}, None),
        ("Flux2KleinPipeline", "flux-2-klein-9b", {}, {"is_distilled": False}, {}, (4, 1.0)),
        ("Flux2KleinPipeline", "flux2Klein_9b", {}, {}, {}, (4, 1.0)),
        ("Flux2KleinPipeline", "flux2Klein_9bBase", {}, {}, {}, None),
        ("Flux2KleinPipeline", "klein-4b-de-distilled", {}, {}, {}, None),
        ("Flux2KleinPipeline", "klein-4b-based-cats", {}, {}, {}, (4, 1.0)),
        ("Flux2KleinPipeline", "klein-base-4b-8steps-lightning", {}, {}, {}, (8, 1.0)),
        ("Flux2KleinPipeline", "my-klein", {}, {"is_distilled": False}, {}, None),
        ("ZImagePipeline", "Z-Image-Turbo", {}, {}, {"shift": 3.0}, (8, 0.0)),
        ("ZImagePipeline", "Z-Image", {}, {}, {"shift": 3.0}, None),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large-turbo", {}, {}, {}, (4, 0.0)),
        ("StableDiffusion3Pipeline", "stable-diffusion-3.5-large", {}, {}, {}, None),
        ("QwenImagePipeline", "Qwen-Image-Lightning-4steps", {}, {}, {}, (4, 1.0)),
        ("StableDiffusionXLPipeline", "sdxl-turbo", {}, {}, {}, ()),
        ("StableDiffusionPipeline", "x", {"time_cond_proj_dim": 256}, {}, {}, ()),
        ("StableDiffusionPipeline", "hypernetworks", {}, {}, {}, None),
    ],
)
def test_a_distilled_model_is_known_and_drawn_with_as_it_is_made_for(
    root: str,
    name: str,
    network: dict[str, object],
    more: dict[str, object],
    scheduler: dict[str, object],
    drawing: tuple[float, ...] | None,
) -> None:
    found = distilled(name, network, {"_class_name": root, **more}, scheduler)
    assert (None if found is None else tuple(found.drawing.values())) == drawing


def test_the_sentence_names_what_is_better_trained() -> None:
    found = distilled("Z-Image-Turbo", {}, {"_class_name": "ZImagePipeline"})
    assert found is not None
    assert found.note.endswith("better trained on Z-Image. It is made to draw in 8 steps and without guidance.")

    told = distilled("flux-turbo-1step", {"guidance_embeds": True}, {"_class_name": "FluxPipeline"})
    assert told is not None
    assert told.note.endswith("It is made to draw in 1 step and with a guidance of 3.5.")


def test_a_folder_of_schnell_is_registered_with_the_steps_that_it_is_made_for(tmp_path: Path) -> None:
    folder = write_images("flux1", tmp_path / "renamed")
    assert (describe("x", folder, licence="CC0").defaults, folder.name) == ({}, "renamed")
    for file, said in (
        ("transformer/config.json", {"guidance_embeds": False}),
        ("scheduler/scheduler_config.json", SCHNELL),
    ):
        change(folder / file, **said)
    record = describe("x", folder, licence="CC0")
    assert record.defaults == {"sample_steps": 4, "guidance": 0.0}
    assert "better trained on FLUX.1-dev" in record.notes[0]


def test_a_folder_of_distilled_klein_is_drawn_in_its_steps_and_never_guided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.method.backbones.images.diffusion import DiffusionBackbone

    folder = write_images("flux2-klein", tmp_path / "renamed")
    assert describe("x", folder, licence="CC0").defaults == {}
    change(folder / "model_index.json", is_distilled=True)
    record = describe("x", folder, licence="CC0")
    assert record.defaults == {"sample_steps": 4, "guidance": 1.0}
    assert any("better trained on FLUX.2-klein-base" in note for note in record.notes)
    said = ["--licence", "CC0", "--data", str(tmp_path / "data")]
    assert cli.main(["backbones", "add", "x", str(folder), "--guidance", "4", *said]) == 2
    assert "leave --guidance out" in capsys.readouterr().err
    assert cli.main(["backbones", "add", "x", str(folder), "--guidance", "1", "--sample-steps", "6", *said]) == 0
    assert "in 6 steps, with a guidance of 1" in capsys.readouterr().out
    options = {"form": record.form, "resolution": SIDE, "target_modules": record.target_modules}
    backbone = DiffusionBackbone.load(folder, **options)
    plain, guided = (backbone.sample(["a cat"], seed=0, steps=2, guidance=each)[0] for each in (1.0, 4.0))
    assert plain.tobytes() == guided.tobytes()

"""Models that are made for something else than drawing from words: refused by what they are, with what to bring."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from core.backbones.folders.inspecting import inspect_folder
from core.backbones.folders.transformers import named_otherwise, other_transformer
from core.backbones.single_files.recognising import recognise
from core.errors import InvalidInput
from tests.core.backbones.headers import write_weights
from tests.core.backbones.test_folders import change

GIVEN_PICTURES = "training here shows it captions alone; bring"


@pytest.fixture
def images(tiny_diffusion_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_diffusion_folder, tmp_path / "sd"))


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("StableDiffusionInpaintPipeline", "repaints a part of pictures"),
        ("StableDiffusionInstructPix2PixPipeline", "edits pictures"),
        ("StableDiffusionXLControlNetPipeline", "steered by a second network"),
        ("StableDiffusionUpscalePipeline", "sharpens or enlarges"),
        ("StableDiffusion3ControlNetInpaintingPipeline", "steered by a second network"),
        ("FluxKontextPipeline", "edits pictures"),
        ("FluxFillPipeline", "repaints a part of pictures"),
        ("FluxControlPipeline", "draws from edges, depths"),
        ("FluxControlInpaintPipeline", "draws from edges, depths"),
        ("FluxPriorReduxPipeline", "draws from pictures that it is given"),
        ("Flux2KleinInpaintPipeline", "repaints a part of pictures"),
        ("Flux2KleinKVPipeline", "draws from pictures that it is given"),
        ("QwenImageEditPipeline", "edits pictures"),
        ("QwenImageEditPlusPipeline", "edits pictures"),
        ("QwenImageLayeredPipeline", "draws from pictures that it is given"),
        ("ZImageOmniPipeline", "draws from pictures that it is given"),
        ("StableDiffusionXLAdapterPipeline", "steered by a second network"),
    ],
)
def test_a_pipeline_that_is_given_pictures_is_refused_by_what_it_does(images: Path, root: str, words: str) -> None:
    change(images / "model_index.json", _class_name=root)
    with pytest.raises(InvalidInput, match=f"names '{root}': it (is )?{words}.*{GIVEN_PICTURES}"):
        inspect_folder(images)


@pytest.mark.parametrize(
    "root",
    [
        "StableVideoDiffusionPipeline",
        "WanPipeline",
        "WanVACEPipeline",
        "HunyuanVideoPipeline",
        "LTXConditionPipeline",
        "CogVideoXFunControlPipeline",
        "MochiPipeline",
        "AnimateDiffSDXLPipeline",
        "Kandinsky5T2VPipeline",
    ],
)
def test_a_pipeline_of_videos_is_refused_as_one(images: Path, root: str) -> None:
    change(images / "model_index.json", _class_name=root)
    with pytest.raises(InvalidInput, match=f"names '{root}': it makes videos; bring .*Pipeline"):
        inspect_folder(images)


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("CogView4Pipeline", "draws from words, but its family is not taken yet"),
        ("Flux3Pipeline", r"not taken yet; bring FLUX\.2-dev \(Flux2Pipeline\) or FLUX\.2 klein .*instead"),
        ("ChromaPipeline", "draws from words, but its family is not taken yet"),
        ("StableAudioPipeline", "makes sounds"),
        ("LatentConsistencyModelPipeline", "distilled"),
        ("EvilPipeline", "only StableDiffusionPipeline"),
    ],
)
def test_another_pipeline_is_refused_by_name(images: Path, root: str, words: str) -> None:
    change(images / "model_index.json", _class_name=root)
    with pytest.raises(InvalidInput, match=words):
        inspect_folder(images)


def test_the_model_that_is_to_be_brought_instead_is_of_the_same_makers(images: Path) -> None:
    change(images / "model_index.json", _class_name="StableDiffusionXLInpaintPipeline")
    with pytest.raises(InvalidInput, match=r"bring Stable Diffusion XL \(StableDiffusionXLPipeline\) instead"):
        inspect_folder(images)
    change(
        images / "model_index.json", _class_name="StableDiffusionPipeline", controlnet=["diffusers", "ControlNetModel"]
    )
    with pytest.raises(InvalidInput, match=r"second network.*bring Stable Diffusion 1\.x or Stable Diffusion 2\.x"):
        inspect_folder(images)


@pytest.mark.parametrize(
    ("root", "config", "words"),
    [
        (
            "FluxTransformer2DModel",
            {"in_channels": 384, "out_channels": 64},
            "384 channels instead of 64: it repaints a part",
        ),
        ("FluxTransformer2DModel", {"in_channels": 128, "out_channels": 64}, "128 channels.*edges"),
        ("SD3Transformer2DModel", {"in_channels": 33}, "33 channels instead of 16: it repaints or edits"),
        ("QwenImageTransformer2DModel", {"in_channels": 64, "zero_cond_t": True}, "zero_cond_t: it edits pictures"),
        ("QwenImageTransformer2DModel", {"use_additional_t_cond": True}, "takes pictures apart"),
        ("ZImageTransformer2DModel", {"siglip_feat_dim": 1152}, "draws from pictures that it is given"),
        ("FluxTransformer2DModel", {}, None),
        ("Flux2Transformer2DModel", {"in_channels": 64}, None),
        ("Flux2Transformer2DModel", {"in_channels": 128}, "128 channels instead of 64: it draws from edges"),
        ("SD3Transformer2DModel", {"in_channels": 16}, None),
        ("QwenImageTransformer2DModel", {"zero_cond_t": False}, None),
        ("ZImageTransformer2DModel", {"siglip_feat_dim": None}, None),
    ],
)
def test_a_transformer_says_itself_what_it_is_given(root: str, config: dict[str, object], words: str | None) -> None:
    vae = {"z_dim" if root.startswith("Qwen") else "latent_channels": 16}
    found = other_transformer({"_class_name": root, **config}, vae)
    assert found is None if words is None else re.search(words, found or "")


@pytest.mark.parametrize(
    ("name", "told"),
    [("FLUX.1-Kontext-dev", True), ("Qwen-Image-Edit-2509", True), ("FLUX.1-dev", False), ("credit-card", False)],
)
def test_a_model_that_is_called_as_one_that_is_given_pictures_is_warned_of(name: str, told: bool) -> None:
    assert bool(named_otherwise("models", name)) is told


BESIDE = "model.diffusion_model."


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8), "img_in.weight": (8, 64)}, r"transformer of FLUX\.1 alone"),
        ({"double_blocks.0.img_attn.qkv.weight": (8, 8), "img_in.weight": (8, 384)}, "repaints a part.*FLUX.1 Fill"),
        ({f"{BESIDE}double_blocks.0.img_mlp.0.weight": (8, 8), f"{BESIDE}img_in.weight": (8, 128)}, "Canny or Depth"),
        ({"double_stream_modulation_img.lin.weight": (8, 8), "double_blocks.0.img_mlp.0.weight": (8, 8)}, "FLUX.2"),
        ({f"{BESIDE}distilled_guidance_layer.in_proj.bias": (8,), f"{BESIDE}double_blocks.0.a": (8,)}, "Chroma"),
        ({"txt_in.individual_token_refiner.blocks.0.mlp.fc1.weight": (8, 8)}, "makes videos .HunyuanVideo"),
        ({f"{BESIDE}head.modulation": (1, 2, 8)}, "makes videos .Wan"),
        ({"patchify_proj.weight": (8, 8)}, "makes videos .LTX"),
        ({"blocks.0.attn.qkv_x.weight": (8, 8)}, "makes videos .Mochi"),
        ({"layers.0.adaLN_modulation.0.weight": (8, 8), "cap_embedder.0.weight": (8,)}, "Z-Image"),
        ({"control_layers.0.adaLN_modulation.0.weight": (8, 8)}, "ControlNet"),
        ({"controlnet_blocks.0.weight": (8, 8), "double_blocks.0.img_mlp.0.weight": (8, 8)}, "ControlNet"),
        ({"ip_adapter.1.to_k_ip.weight": (8, 8), "image_proj.proj.weight": (8, 8)}, "IP-Adapter"),
    ],
)
def test_a_file_of_another_model_is_refused_by_what_it_is(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], words: str
) -> None:
    file = write_weights(tmp_path / "model.safetensors", shapes)
    with pytest.raises(InvalidInput, match=f"This file can't become a backbone: .*{words}.*; bring .* instead"):
        recognise(file)

"""Files for Stable Diffusion 1, 2 and XL do in diffusers what the adapter does here, and name the right base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint
from safetensors import safe_open

from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.formats import diffusers, kohya, merged, peft
from core.method.formats.kohya_names import KNOWN, PREFIX, name_of
from tests.core.method.formats.test_formats import HEADER, drawn, image_witness
from tests.families.images import UNETS, write_images
from tests.tiny_backbones import UNET_TARGETS

CLOSE = 1e-5  # of the adapter's effect
BESIDE_ATTENTION = ("time_emb_proj", "conv_shortcut", "time_embedding.linear_1", "time_embedding.linear_2")
Load = Callable[..., DiffusionBackbone]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    folders: dict[str, Path] = {}

    def loaded(name: str, targets: tuple[str, ...] = UNET_TARGETS) -> DiffusionBackbone:
        if name not in folders:
            folders[name] = write_images(name, tmp_path_factory.mktemp(name))
        form = "sdxl" if name == "sdxl" else "sd"
        return DiffusionBackbone.load(folders[name], form=form, resolution=16, target_modules=targets)

    return loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", UNETS)
@pytest.mark.parametrize("targets", [UNET_TARGETS, (*UNET_TARGETS, *BESIDE_ATTENTION)], ids=["usual", "wide"])
def test_every_file_gives_the_same_prediction(name: str, targets: tuple[str, ...], load: Load, tmp_path: Path) -> None:
    backbone = load(name, targets)
    witness = image_witness(backbone, drawn(backbone))
    assert kohya.refusal(backbone) is None
    for module, file in ((diffusers, diffusers.FILE), (kohya, kohya.FILE), (peft, "peft")):
        module.write(backbone, witness.adapter, tmp_path / file, "tiny", HEADER)
        assert module.verify(witness, tmp_path / file) < CLOSE
    source = write_images(name, tmp_path / "source")
    merged.write(witness, source, tmp_path / "merged")
    assert merged.verify(witness, source, tmp_path / "merged") < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("name", UNETS)
@pytest.mark.parametrize("file", [diffusers.FILE, kohya.FILE])
def test_a_whole_pipeline_takes_the_file_by_its_own_call(name: str, file: str, load: Load, tmp_path: Path) -> None:
    backbone = load(name)
    adapter = drawn(backbone)
    module = diffusers if file == diffusers.FILE else kohya
    module.write(backbone, adapter, tmp_path / file, "tiny", HEADER)
    pipeline: Any = whole_pipeline(name, write_images(name, tmp_path / "whole"))
    batch = {"mean": torch.randn(2, 4, 8, 8), **backbone.conditions(["a cat", "a dog"])}
    draw = backbone.fixed_draws(1, 2, seed=0)[0]
    with backbone.lora.use(adapter):
        wanted = backbone.predicted_by(backbone.network, batch, draw, torch.device("cpu"), torch.float32)
    bare = backbone.predicted_by(pipeline.unet, batch, draw, torch.device("cpu"), torch.float32)
    pipeline.load_lora_weights(tmp_path, weight_name=file)
    found = backbone.predicted_by(pipeline.unet, batch, draw, torch.device("cpu"), torch.float32)
    assert (found - wanted).norm() < CLOSE * (wanted - bare).norm()


def whole_pipeline(name: str, folder: Path) -> Any:
    return (StableDiffusionXLPipeline if name == "sdxl" else StableDiffusionPipeline).from_pretrained(folder)


def narrow_sdxl() -> UNet2DConditionModel:
    """SDXL with all its blocks, layers and transformer blocks, a few channels wide."""
    return UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        transformer_layers_per_block=[1, 2, 10],
        block_out_channels=(8, 16, 16),
        norm_num_groups=4,
        attention_head_dim=[4, 4, 4],
        cross_attention_dim=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=56,
    )


@pytest.mark.slow
def test_kohya_names_of_sdxl_are_the_722_of_kohyas_scripts_in_the_published_layout() -> None:
    unet = narrow_sdxl()
    paths = [path for path, _ in unet.named_modules() if path.endswith(UNET_TARGETS)]
    names = {name_of(path, "sdxl", 2): path for path in paths}
    assert len(names) == len(paths) == 722
    assert all(KNOWN["sdxl"].fullmatch(name) for name in names)
    assert f"{PREFIX}input_blocks_4_1_transformer_blocks_0_attn1_to_q" in names
    assert f"{PREFIX}middle_block_1_transformer_blocks_9_ff_net_0_proj" in names
    assert f"{PREFIX}output_blocks_5_1_proj_out" in names


@pytest.mark.slow
def test_kohya_names_of_sdxl_are_where_diffusers_finds_the_modules_of_a_published_file() -> None:
    unet = narrow_sdxl()
    adaptable = (*UNET_TARGETS, *BESIDE_ATTENTION, "conv1", "conv2", "conv", "conv_in", "conv_out")
    paths = [path for path, _ in unet.named_modules() if path.endswith(adaptable)]
    published = layout(unet)
    names = {name_of(path, "sdxl", 2) for path in paths}
    assert names == {f"{PREFIX}{published[path].replace('.', '_')}" for path in paths}
    assert len(names) == len(paths)
    assert all(KNOWN["sdxl"].fullmatch(name) for name in names)


def layout(unet: UNet2DConditionModel) -> dict[str, str]:
    """Every module's path in a published file, found by converting a file of nothing but numbered weights."""
    keys = [f"{path}.{part}" for path in published_paths() for part in ("weight", "bias")]
    numbered = {f"model.diffusion_model.{key}": torch.tensor(float(at)) for at, key in enumerate(keys)}
    found = convert_ldm_unet_checkpoint(numbered, {**unet.config})
    return {path.removesuffix(".weight"): keys[int(at)].removesuffix(".weight") for path, at in found.items()}


def published_paths() -> list[str]:
    """The modules of a published SDXL file, from the description of its network (generative-models, sd_xl_base)."""
    keys = ["time_embed.0", "time_embed.2", "label_emb.0.0", "label_emb.0.2", "input_blocks.0.0", "out.0", "out.2"]
    inside = ["norm", "proj_in", "proj_out"]
    block = [f"attn{number}.to_{part}" for number in (1, 2) for part in ("q", "k", "v", "out.0")]
    block += ["ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3"]
    resnet = ["in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3"]

    def layer(place: str, depth: int, shortcut: bool) -> None:
        keys.extend(f"{place}.0.{part}" for part in resnet + ["skip_connection"] * shortcut)
        if depth:
            attention(f"{place}.1", depth)

    def attention(place: str, depth: int) -> None:
        keys.extend(f"{place}.{part}" for part in inside)
        keys.extend(f"{place}.transformer_blocks.{n}.{part}" for n in range(depth) for part in block)

    for place, (depth, shortcut) in {1: (0, 0), 2: (0, 0), 4: (2, 1), 5: (2, 0), 7: (10, 0), 8: (10, 0)}.items():
        layer(f"input_blocks.{place}", depth, bool(shortcut))
    keys.extend(f"input_blocks.{place}.0.op" for place in (3, 6))
    for place in (0, 2):
        keys.extend(f"middle_block.{place}.{part}" for part in resnet)
    attention("middle_block.1", 10)
    for place in range(9):
        layer(f"output_blocks.{place}", (10, 2, 0)[place // 3], shortcut=True)
    keys.extend(f"output_blocks.{place}.2.conv" for place in (2, 5))
    return keys


def test_a_module_of_sdxl_that_some_program_does_not_read_is_left_out_with_a_reason(load: Load) -> None:
    backbone = load("sdxl")
    backbone.lora.layers["add_embedding.linear_1"] = next(iter(backbone.lora.layers.values()))
    assert kohya.refusal(backbone) == (
        "No name that ComfyUI, A1111 and diffusers all read is known here for the module add_embedding.linear_1."
    )
    del backbone.lora.layers["add_embedding.linear_1"]
    backbone.network.register_to_config(layers_per_block=[1, 2])
    assert kohya.refusal(backbone) == (
        "Its blocks have different numbers of layers, for which no names of modules are known here."
    )


@pytest.mark.parametrize(
    ("name", "width", "told"),
    [
        ("sd1", 768, ("sd_v1", "False", "False", "stable-diffusion-v1/lora", "epsilon")),
        ("sd2", 1024, ("sd_v2", "True", "False", "stable-diffusion-v2-512/lora", "epsilon")),
        ("sd2-v", 1024, ("sd_v2_v", "True", "True", "stable-diffusion-v2-768-v/lora", "v")),
        ("sdxl", 2048, ("sdxl_base_v1-0", "False", "False", "stable-diffusion-xl-v1-base/lora", "epsilon")),
        ("sd1", 32, (None,) * 5),
    ],
)
def test_a_kohya_file_says_which_stable_diffusion_it_is_for(
    name: str, width: int, told: tuple[str | None, ...], load: Load, tmp_path: Path
) -> None:
    backbone = load(name)
    backbone.network.register_to_config(cross_attention_dim=width)
    kohya.write(backbone, drawn(backbone), tmp_path / kohya.FILE, "tiny", {})
    with safe_open(tmp_path / kohya.FILE, "pt") as opened:
        metadata = opened.metadata()
    names = ("ss_base_model_version", "ss_v2", "ss_v_parameterization")
    model = ("modelspec.architecture", "modelspec.prediction_type")
    assert tuple(metadata.get(key) for key in (*names, *model)) == told
    assert metadata["ss_sd_model_name"] == "tiny"

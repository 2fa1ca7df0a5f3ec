"""Files for transformers of flow matching do in diffusers what the adapter does here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from core.backbones.families import family
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.probing import leave_out_dead
from core.method.formats import diffusers, kohya, merged, peft
from core.method.formats.kohya_flux import WIDTH
from core.method.formats.kohya_names import PREFIX
from tests.core.method.formats.test_formats import HEADER, drawn, image_witness
from tests.families.images import FLOWS, IMAGES, SIDE, random_pipeline, write_images

CLOSE = 1e-5  # of the adapter's effect
Load = Callable[[str], DiffusionBackbone]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = write_images(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="module")
def load(folders: Callable[[str], Path]) -> Load:
    def loaded(name: str) -> DiffusionBackbone:
        row = family(IMAGES[name].id)
        assert row.form is not None
        return DiffusionBackbone.load(folders(name), form=row.form, resolution=SIDE, target_modules=row.targets)

    return loaded


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_every_file_gives_the_same_prediction(
    name: str, load: Load, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    backbone = load(name)
    witness = image_witness(backbone, drawn(backbone))
    for module, file in ((diffusers, diffusers.FILE), (peft, "peft")):
        module.write(backbone, witness.adapter, tmp_path / file, "tiny", HEADER)
        assert module.verify(witness, tmp_path / file) < CLOSE
    merged.write(witness, folders(name), tmp_path / "merged")
    assert merged.verify(witness, folders(name), tmp_path / "merged") < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_a_whole_pipeline_takes_the_file_by_its_own_call(name: str, load: Load, tmp_path: Path) -> None:
    backbone = load(name)
    adapter = drawn(backbone)
    diffusers.write(backbone, adapter, tmp_path / diffusers.FILE, "tiny", HEADER)
    pipeline = random_pipeline(name)
    witness = image_witness(backbone, adapter)
    pipeline.load_lora_weights(tmp_path, weight_name=diffusers.FILE)
    assert witness.compare_outputs(pipeline.transformer.eval(), "diffusers") < CLOSE


def test_the_text_stream_that_qwen_image_throws_away_is_in_no_file(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    every = ("attn.to_q", "attn.add_q_proj", "attn.to_add_out", "txt_mlp.net.2", "img_mlp.net.0.proj")
    options: dict[str, Any] = {"form": "qwen-image", "resolution": SIDE, "target_modules": every}
    backbone = DiffusionBackbone.load(folders("qwen-image"), **options)
    colours = (Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "green"))
    references = backbone.encode([{"image": image, "caption": "a cat"} for image in colours])
    whole = set(backbone.lora.layers)
    dead = set(leave_out_dead(backbone, references))
    last = backbone.network.config.num_layers - 1
    assert dead == {f"transformer_blocks.{last}.{part}" for part in ("attn.to_add_out", "txt_mlp.net.2")}
    witness = image_witness(backbone, drawn(backbone))
    for module, file in ((diffusers, diffusers.FILE), (peft, "peft"), (kohya, kohya.FILE)):
        module.write(backbone, witness.adapter, tmp_path / file, "tiny", HEADER)
        assert module.verify(witness, tmp_path / file) < CLOSE
    with safe_open(tmp_path / diffusers.FILE, "pt") as opened:
        names = {name.split(".lora_")[0].removeprefix("transformer.") for name in opened.keys()}  # noqa: SIM118
    assert names == whole - dead


def test_a_file_of_kohyas_names_of_qwen_image_is_taken_by_its_pipeline(load: Load, tmp_path: Path) -> None:
    backbone = load("qwen-image")
    adapter = drawn(backbone)
    assert kohya.refusal(backbone) is None
    kohya.write(backbone, adapter, tmp_path / kohya.FILE, "tiny", HEADER)
    pipeline = random_pipeline("qwen-image")
    pipeline.load_lora_weights(tmp_path, weight_name=kohya.FILE)
    witness = image_witness(backbone, adapter)
    assert witness.compare_outputs(pipeline.transformer.eval(), "kohya") < CLOSE


def test_why_there_is_no_file_of_kohyas_names_is_said(load: Load) -> None:
    for name in ("sd3", "z-image", "flux2", "flux2-klein"):
        assert "ComfyUI, which would read them, reads the diffusers file" in str(kohya.refusal(load(name)))
    assert "It is 32 wide, with 1 and 2 blocks" in str(kohya.refusal(load("flux1")))


@pytest.mark.long
def test_a_file_of_kohyas_names_gives_the_same_prediction_at_the_width_of_flux(load: Load, tmp_path: Path) -> None:
    backbone = as_wide_as_flux(load("flux1"), ("attn.to_q", "attn.to_k", "attn.to_v", "norm.linear"))
    witness = image_witness(backbone, drawn(backbone))
    assert kohya.refusal(backbone) is None
    kohya.write(backbone, witness.adapter, tmp_path / kohya.FILE, "tiny", HEADER)
    assert kohya.verify(witness, tmp_path / kohya.FILE) < CLOSE
    with safe_open(tmp_path / kohya.FILE, "pt") as opened:
        joined = "lora_unet_single_blocks_0_linear1"
        assert opened.get_tensor(f"{joined}.alpha") == 4 * witness.adapter.rank
        assert opened.get_slice(f"{joined}.lora_up.weight").get_shape() == [7 * WIDTH, 4 * witness.adapter.rank]
        assert opened.metadata()["ss_base_model_version"] == "flux1"


def as_wide_as_flux(tiny: DiffusionBackbone, targets: tuple[str, ...]) -> DiffusionBackbone:
    """Return a backbone of a single block that is as wide as FLUX.1's, told by a tiny one's encoders."""
    config = {key: value for key, value in tiny.network.config.items() if not key.startswith("_")}
    config |= {"num_attention_heads": 24, "attention_head_dim": 128, "num_layers": 0, "num_single_layers": 1}
    with torch.device("meta"):
        wide = FluxTransformer2DModel(**config | {"axes_dims_rope": (16, 56, 56)})
    wide.to_empty(device="cpu")
    for number in wide.parameters():
        number.data.uniform_(-0.02, 0.02)
    pipeline = FluxPipeline(**{**tiny.pipeline.components, "transformer": wide})
    return DiffusionBackbone(pipeline, tiny.conditioner, resolution=SIDE, target_modules=targets, form="flux")


def test_diffusers_reads_no_names_of_kohyas_for_stable_diffusion_3(load: Load, tmp_path: Path) -> None:
    backbone = load("sd3")
    names = {"lora_A": "lora_down", "lora_B": "lora_up"}
    tensors = {}
    for key, tensor in backbone.lora.tensors(drawn(backbone), "").items():
        path, half, _ = key.rsplit(".", 2)
        tensors[f"{PREFIX}{path.replace('.', '_')}.{names[half]}.weight"] = tensor
    save_file(tensors, tmp_path / "kohya.safetensors")
    pipeline = random_pipeline("sd3")
    pipeline.load_lora_weights(tmp_path, weight_name="kohya.safetensors")
    assert not any(path.endswith("lora_A") for path, _ in pipeline.transformer.named_modules())

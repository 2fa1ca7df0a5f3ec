"""Transformers alone in one file: whose they are, and that one is not taken for a whole model or for an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.backbones.single_files.transformer_files import no_base, read_transformer
from core.errors import InvalidInput
from tests.core.backbones.headers import Shapes, checkpoint, write_weights

BESIDE = "model.diffusion_model."
FLUX = {"double_blocks.0.img_attn.qkv.weight": (8, 8), "img_in.weight": (8, 64)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("shapes", "made", "what"),
    [
        (FLUX, "FluxTransformer2DModel", "the transformer of FLUX.1"),
        ({f"{BESIDE}{name}": sides for name, sides in FLUX.items()}, "FluxTransformer2DModel", "FLUX.1"),
        ({"single_transformer_blocks.0.attn.to_q.weight": (8, 8)}, "FluxTransformer2DModel", "FLUX.1"),
        ({"double_stream_modulation_img.lin.weight": (8, 8)}, "Flux2Transformer2DModel", "FLUX.2"),
        ({"joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "SD3Transformer2DModel", "Stable Diffusion 3"),
        ({"layers.0.adaLN_modulation.0.weight": (8, 8)}, "ZImageTransformer2DModel", "Z-Image"),
        ({"transformer_blocks.0.img_mlp.net.2.weight": (8, 8)}, "QwenImageTransformer2DModel", "Qwen-Image"),
    ],
)
def test_a_transformer_alone_is_known_by_its_tensors(file: Path, shapes: Shapes, made: str, what: str) -> None:
    found = read_transformer(write_weights(file, shapes, facts={"modelspec.license": "mit"}))
    assert found is not None
    assert (found.made, found.dtype, found.licence, found.guided) == (made, "bfloat16", "mit", False)
    assert what in found.what


@pytest.mark.parametrize(
    "shapes",
    [
        checkpoint("sdxl"),
        FLUX | {"img_in.weight": (8, 384)},
        FLUX | {"controlnet_blocks.0.weight": (8, 8)},
        {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (8, 8)},
        {"txt_in.individual_token_refiner.blocks.0.mlp.fc1.weight": (8, 8), **FLUX},
        {"encoder.conv_in.weight": (8, 3, 3, 3)},
    ],
)
def test_what_is_no_transformer_that_draws_from_words_is_none(file: Path, shapes: Shapes) -> None:
    assert read_transformer(write_weights(file, shapes)) is None


def test_one_in_eight_bits_is_refused_with_what_to_bring(file: Path) -> None:
    write_weights(file, FLUX, "F8_E4M3")
    with pytest.raises(InvalidInput, match=r"quantised .*take the original in bfloat16 or float16"):
        read_transformer(file)


def test_that_it_is_told_how_much_guidance_to_follow_is_read(file: Path) -> None:
    found = read_transformer(write_weights(file, FLUX | {"guidance_in.in_layer.weight": (8, 8)}))
    assert found is not None
    assert found.guided


def test_without_a_base_it_is_said_that_one_is_needed(file: Path) -> None:
    found = read_transformer(write_weights(file, FLUX))
    assert found is not None
    assert "it is the transformer of FLUX.1; none that has its other parts is here yet" in no_base(found, []).message

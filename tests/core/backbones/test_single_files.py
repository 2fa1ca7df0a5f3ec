"""Checkpoints in one file: what is read from the names of their tensors, and that a converted one is the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.backbones.single_files.clip_vocabulary import clip_vocabulary
from core.backbones.single_files.layouts import write_layout
from core.backbones.single_files.recognising import recognise
from core.errors import InvalidInput
from tests.core.backbones.headers import checkpoint, decoder, write_weights

UNET = "model.diffusion_model."
ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("family", "objective", "side"), [("sd1", "epsilon", 512), ("sd2", "v_prediction", 768), ("sdxl", "epsilon", 1024)]
)
def test_the_family_is_read_and_what_is_assumed_is_said(file: Path, family: str, objective: str, side: int) -> None:
    found = recognise(write_weights(file, checkpoint(family), "F16"))
    assert (found.family, found.objective, found.side, found.dtype) == (family, objective, side, "float16")
    assert any(f"{objective}" in note and "assumed" in note for note in found.notes)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_marks_of_trainers_say_what_is_predicted_and_nothing_is_assumed(file: Path, family: str) -> None:
    found = recognise(write_weights(file, checkpoint(family) | {"v_pred": (0,), "ztsnr": (0,)}, "F16"))
    assert (found.objective, found.zero_snr, found.notes) == ("v_prediction", True, ())
    found = recognise(write_weights(file, checkpoint(family), facts={"modelspec.prediction_type": "epsilon"}))
    assert (found.objective, found.zero_snr, found.notes, found.dtype) == ("epsilon", False, (), "bfloat16")


def test_an_operator_says_what_is_predicted_unless_the_file_does(file: Path) -> None:
    found = recognise(write_weights(file, checkpoint("sd2")), "epsilon")
    assert (found.objective, found.side, found.notes) == ("epsilon", 512, ())
    assert recognise(write_weights(file, checkpoint("sd1")), "v_prediction").objective == "v_prediction"
    marked = write_weights(file, checkpoint("sd2") | {"v_pred": (0,)})
    assert recognise(marked, "v_prediction").objective == "v_prediction"
    with pytest.raises(InvalidInput, match="says itself that it predicts v_prediction"):
        recognise(marked, "epsilon")


def test_its_facts_name_a_licence_and_averaged_or_distilled_weights_are_told(tmp_path: Path) -> None:
    shapes = checkpoint("sdxl") | {"model_ema.decay": (0,), "v_pred": (0,)}
    file = write_weights(tmp_path / "some_Lightning_4step.safetensors", shapes, facts={"modelspec.license": "mit"})
    found = recognise(file)
    assert found.licence == "mit"
    assert "distilled" in found.notes[0]
    assert "model_ema" in found.notes[1]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (checkpoint("sd1", channels=9), "9 channels instead of 4: it repaints"),
        (checkpoint("sd2", channels=5), "5 channels instead of 4: it is told depth"),
        (checkpoint("sd1", channels=8), "8 channels instead of 4: it repaints or edits"),
        (checkpoint("sd1", width=160), "begins with 160 channels.*--config"),
        ({f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)}, "without a text encoder"),
        ({k: v for k, v in checkpoint("sd1").items() if "first_stage" not in k}, "no VAE"),
        ({k: v for k, v in checkpoint("sdxl").items() if "embedders.1" not in k}, "one of its two text encoders"),
        (checkpoint("sdxl") | {"conditioner.embedders.0.model.ln_final.weight": (8,)}, "refiner"),
        (checkpoint("sd1") | {"control_model.time_embed.0.weight": (8, 8)}, "ControlNet"),
        ({"lora_unet_down_blocks_0.lora_down.weight": (8, 8)}, "an adapter"),
        ({"unet.down_blocks.0.attn.to_q.lora_A.weight": (8, 8)}, "an adapter"),
        ({"first_stage_model.encoder.conv_in.weight": (8, 3, 3, 3)}, "a VAE alone"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (8,)}, "FLUX"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}, "Stable Diffusion 3"),
        ({"cap_embedder.0.weight": (8,)}, "Lumina"),
        ({"transformer_blocks.0.img_mlp.net.2.weight": (8, 8)}, "Qwen-Image"),
        ({"down_blocks.0.attentions.0.proj_in.weight": (8, 8)}, "one part of a diffusers folder"),
        ({"emb_params": (1, 8)}, "textual inversion"),
        ({"clip_l": (1, 8), "clip_g": (1, 8)}, "textual inversion"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)}, "a text encoder alone"),
        ({"text_model.encoder.layers.0.self_attn.q_proj.weight": (8, 8)}, "a text encoder alone"),
        ({"encoder.layer.0.attention.self.query.weight": (8, 8)}, "a text encoder alone"),
        ({"encoder.conv_in.weight": (8, 3, 3, 3)}, "a VAE alone"),
        ({"single_transformer_blocks.0.attn.to_q.weight": (8, 8)}, "FLUX"),
        (checkpoint("sdxl") | {"edm_mean": (4,)}, "Playground v2.5 model .*predicts neither"),
        (checkpoint("sdxl") | {"edm_vpred.sigma_max": (0,)}, "CosXL model .*predicts neither"),
        (decoder(), "text model alone"),
        ({"some.weight": (8, 8)}, "no model that is known"),
    ],
)
def test_another_file_is_refused_by_what_it_is(file: Path, shapes: dict[str, tuple[int, ...]], words: str) -> None:
    write_weights(file, shapes)
    with pytest.raises(InvalidInput, match=f"This file can't become a backbone: .*{words}"):
        recognise(file)


def test_eight_bits_and_a_file_that_is_cut_are_refused(file: Path) -> None:
    write_weights(file, checkpoint("sdxl") | {ATTENTION: (8, 8)}, "F16", **{ATTENTION: "F8_E4M3"})
    with pytest.raises(InvalidInput, match="quantised"):
        recognise(file)
    encoder = "conditioner.embedders.1.model.token_embedding.weight"
    write_weights(file, checkpoint("sdxl"), "F16", **{encoder: "F8_E4M3"})
    with pytest.raises(InvalidInput, match="quantised"):
        recognise(file)
    write_weights(file, checkpoint("sd1"))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(InvalidInput, match=r"This file .*cut short"):
        recognise(file)


def test_an_encoder_is_found_that_is_called_as_in_novelais_files(file: Path) -> None:
    old = {name.replace("text_model.", ""): sides for name, sides in checkpoint("sd1").items()}
    assert recognise(write_weights(file, old)).family == "sd1"


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.ckpt", "pickle"), ("x.gguf", "GGUF"), ("x.onnx", "ONNX"), ("x.zip", "unpack"), ("x", "only")],
)
def test_a_file_of_another_ending_is_refused_unread(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InvalidInput, match=words):
        recognise(tmp_path / name)


@pytest.mark.parametrize(("objective", "side"), [("v_prediction", 96), ("epsilon", 64)])
def test_the_layout_of_a_second_stable_diffusion_follows_what_it_predicts(
    file: Path, tmp_path: Path, objective: str, side: int
) -> None:
    found = recognise(write_weights(file, checkpoint("sd2")), objective)  # type: ignore[arg-type]
    (tmp_path / "layout").mkdir()
    write_layout(found, tmp_path / "layout")
    scheduler = json.loads((tmp_path / "layout/scheduler/scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == objective
    assert "rescale_betas_zero_snr" not in scheduler
    assert json.loads((tmp_path / "layout/unet/config.json").read_text())["sample_size"] == side


def test_a_last_step_of_pure_noise_is_written_into_the_layout(file: Path, tmp_path: Path) -> None:
    found = recognise(write_weights(file, checkpoint("sdxl") | {"v_pred": (0,), "ztsnr": (0,)}))
    (tmp_path / "layout").mkdir()
    write_layout(found, tmp_path / "layout")
    scheduler = json.loads((tmp_path / "layout/scheduler/scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True
    assert scheduler["timestep_spacing"] == "trailing"


def test_the_configuration_of_another_family_is_refused(
    file: Path, tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=r"of Stable Diffusion 1\.x, and the file holds Stable Diffusion XL"):
        recognise(write_weights(file, checkpoint("sdxl")), config=tiny_diffusion_folder)
    with pytest.raises(InvalidInput, match="no diffusers folder"):
        recognise(file, config=tmp_path)
    small = recognise(write_weights(file, checkpoint("sd1", width=16)), config=tiny_diffusion_folder)
    assert (small.objective, small.notes) == ("epsilon", ())  # its scheduler says so


def test_clips_vocabulary_numbers_words_as_clip_does() -> None:
    vocabulary, merges = clip_vocabulary()
    assert (len(vocabulary), len(merges)) == (49_408, 48_894)
    words = ["<|startoftext|>", "a</w>", "photo</w>", "of</w>", "a</w>", "cat</w>", "<|endoftext|>"]
    assert [vocabulary[word] for word in words] == [49406, 320, 1125, 539, 320, 2368, 49407]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "count"), [("sd1", 859_520_964), ("sd2", 865_910_724), ("sdxl", 2_567_463_684)])
def test_the_shipped_layouts_are_of_the_true_sizes(family: str, count: int) -> None:
    """The counts are those of the published U-Nets."""
    import torch
    from diffusers import UNet2DConditionModel

    from core.backbones.single_files.layouts import LAYOUTS

    parts = json.loads((LAYOUTS / f"{family}.json").read_text())
    with torch.device("meta"):
        network = UNet2DConditionModel.from_config(parts["unet/config.json"])
    assert sum(each.numel() for each in network.parameters()) == count

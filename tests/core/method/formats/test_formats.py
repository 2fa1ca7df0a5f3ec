"""Each file of an adapter does in its consumer what the adapter does here; a damaged one is caught."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from core.errors import JobFailure
from core.method.backbones.backbone import Draw
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import diffusers, gguf, kohya, llama_cpp, merged, peft
from core.method.formats.kohya_names import KNOWN, name_of
from core.method.formats.witness import Witness, loading
from core.method.lora.adapter import Adapter
from tests.tiny_backbones import UNET_TARGETS

HEADER = {"albatross.card": "{}"}


def drawn(backbone: DiffusionBackbone | LanguageBackbone) -> Adapter:
    adapter = backbone.lora.new(4, 12.0, seed=1)  # alpha is not the rank: a dropped scale would show
    for matrix in adapter.up.values():
        matrix.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(2))
    return adapter


def image_witness(backbone: DiffusionBackbone, adapter: Adapter) -> Witness:
    latents = torch.randn(backbone._latent_shape(2), generator=torch.Generator().manual_seed(4))
    batch = {"mean": latents, "std": torch.zeros_like(latents), **backbone.conditions(["a cat", "a dog"])}
    return Witness(backbone, adapter, batch, backbone.fixed_draws(1, 2, seed=0)[0])


def text_witness(backbone: LanguageBackbone, adapter: Adapter) -> Witness:
    return Witness(backbone, adapter, backbone.encode([{"text": "a cat"}]), Draw())


@pytest.fixture
def images(tiny_diffusion: DiffusionBackbone) -> Witness:
    return image_witness(tiny_diffusion, drawn(tiny_diffusion))


@pytest.fixture
def texts(tiny_language: LanguageBackbone) -> Witness:
    return text_witness(tiny_language, drawn(tiny_language))


def test_every_image_format_gives_the_same_noise(images: Witness, tiny_diffusion_folder: Path, tmp_path: Path) -> None:
    backbone, adapter = images.backbone, images.adapter
    assert isinstance(backbone, DiffusionBackbone)
    peft.write(backbone, adapter, tmp_path / "peft", "tiny", HEADER)
    diffusers.write(backbone, adapter, tmp_path / diffusers.FILE, "tiny", HEADER)
    kohya.write(backbone, adapter, tmp_path / kohya.FILE, "tiny", HEADER)
    merged.write(images, tiny_diffusion_folder, tmp_path / "merged")
    assert peft.verify(images, tmp_path / "peft") < 1e-3
    assert diffusers.verify(images, tmp_path / diffusers.FILE) < 1e-3
    assert kohya.verify(images, tmp_path / kohya.FILE) < 1e-3
    assert merged.verify(images, tiny_diffusion_folder, tmp_path / "merged") < 1e-3
    for file in (tmp_path / "peft/adapter_model.safetensors", tmp_path / diffusers.FILE, tmp_path / kohya.FILE):
        with safe_open(file, "pt") as opened:
            assert opened.metadata()["albatross.card"] == "{}"
        assert file.stat().st_mode & 0o777 == 0o600


def test_every_text_format_gives_the_same_logits(texts: Witness, tiny_language_folder: Path, tmp_path: Path) -> None:
    backbone = texts.backbone
    assert isinstance(backbone, LanguageBackbone)
    peft.write(backbone, texts.adapter, tmp_path / "peft", "tiny", HEADER)
    gguf.write(backbone, texts.adapter, tmp_path / gguf.FILE, "tiny", HEADER)
    merged.write(texts, tiny_language_folder, tmp_path / "merged")
    assert peft.verify(texts, tmp_path / "peft") < 1e-3
    assert gguf.verify(texts, tmp_path / gguf.FILE) < 1e-3
    assert merged.verify(texts, tiny_language_folder, tmp_path / "merged") < 1e-3


def test_kohya_names_are_the_192_that_the_consumers_of_stable_diffusion_1_know() -> None:
    unet = UNet2DConditionModel(
        layers_per_block=2,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=8,
    )
    paths = [name for name, _ in unet.named_modules() if name.endswith(UNET_TARGETS)]
    blocks = [f"down_blocks_{block}_attentions_{place}" for block, place in product((0, 1, 2), (0, 1))]
    blocks += [f"up_blocks_{block}_attentions_{place}" for block, place in product((1, 2, 3), (0, 1, 2))]
    inner = [f"attn{number}_to_{part}" for number, part in product((1, 2), ("q", "k", "v", "out_0"))]
    inner = [f"transformer_blocks_0_{part}" for part in [*inner, "ff_net_0_proj", "ff_net_2"]]
    known = {
        f"lora_unet_{block}_{part}"
        for block, part in product([*blocks, "mid_block_attentions_0"], [*inner, "proj_in", "proj_out"])
    }
    assert {name_of(path, "sd", 2) for path in paths} == known
    assert len(known) == 192
    assert all(KNOWN["sd"].fullmatch(name) for name in known)


def test_a_module_that_comfyui_does_not_know_is_left_out_with_a_reason(tiny_diffusion: DiffusionBackbone) -> None:
    assert kohya.refusal(tiny_diffusion) is None
    tiny_diffusion.lora.layers["class_embedding.linear_1"] = next(iter(tiny_diffusion.lora.layers.values()))
    assert kohya.refusal(tiny_diffusion) == (
        "No name that ComfyUI, A1111 and diffusers all read is known here for the module class_embedding.linear_1."
    )


def test_an_architecture_that_was_never_tried_is_left_out_with_a_reason(tiny_language: LanguageBackbone) -> None:
    assert gguf.refusal(tiny_language) is None
    tiny_language.lora.layers["lm_head"] = next(iter(tiny_language.lora.layers.values()))
    assert gguf.refusal(tiny_language) == "llama.cpp takes no adapter of the module lm_head of llama."
    tiny_language.model.config.model_type = "mamba"
    told = gguf.refusal(tiny_language)
    assert told is not None
    assert told.startswith("What llama.cpp makes of an adapter for mamba was not tried, so nothing is written; tried")
    assert all(family in told for family in ("gemma3", "llama", "phi3", "qwen3_moe"))


Damage = Callable[[dict[str, torch.Tensor]], None]


def lose_a_half(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(name for name in tensors if "up" in name or "lora_B" in name)]


def lose_a_module(tensors: dict[str, torch.Tensor]) -> None:
    module = next(name for name in sorted(tensors) if ".lora_" in name).rpartition(".lora_")[0]
    for name in [name for name in tensors if name.startswith(f"{module}.")]:
        del tensors[name]


def change_the_scale(tensors: dict[str, torch.Tensor]) -> None:
    for name in tensors:
        if "up" in name or "lora_B" in name:
            tensors[name] *= 1.01


def spoil_a_number(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "up" in name or "lora_B" in name)
    tensors[name].view(-1)[0] = torch.nan


@pytest.mark.slow
@pytest.mark.parametrize("damage", [lose_a_half, lose_a_module, change_the_scale, spoil_a_number])
@pytest.mark.parametrize("form", ["peft", "diffusers", "kohya"])
def test_a_damaged_file_is_caught_and_its_format_named(
    images: Witness, tmp_path: Path, damage: Damage, form: str
) -> None:
    backbone, adapter = images.backbone, images.adapter
    assert isinstance(backbone, DiffusionBackbone)
    peft.write(backbone, adapter, tmp_path, "tiny", HEADER)
    diffusers.write(backbone, adapter, tmp_path / diffusers.FILE, "tiny", HEADER)
    kohya.write(backbone, adapter, tmp_path / kohya.FILE, "tiny", HEADER)
    file, verify = {
        "peft": (tmp_path / "adapter_model.safetensors", lambda: peft.verify(images, tmp_path)),
        "diffusers": (tmp_path / diffusers.FILE, lambda: diffusers.verify(images, tmp_path / diffusers.FILE)),
        "kohya": (tmp_path / kohya.FILE, lambda: kohya.verify(images, tmp_path / kohya.FILE)),
    }[form]
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    damage(tensors)
    save_file(tensors, file, metadata=metadata)
    with pytest.raises(JobFailure, match=f"in {form} format") as failure:
        verify()
    assert failure.value.code == "export_verification_failed"


def test_a_wrong_alpha_and_an_unknown_name_are_caught_in_kohya_format(images: Witness, tmp_path: Path) -> None:
    backbone, file = images.backbone, tmp_path / kohya.FILE
    assert isinstance(backbone, DiffusionBackbone)
    kohya.write(backbone, images.adapter, file, "tiny", HEADER)
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith(".alpha"))
    save_file(tensors | {name: torch.tensor(12.0)}, file)
    with pytest.raises(JobFailure, match="alpha is not 4 everywhere"):
        kohya.verify(images, file)
    save_file({name.replace("to_q", "query"): tensor for name, tensor in tensors.items()}, file)
    with pytest.raises(JobFailure, match="attn1_query is not one that ComfyUI knows"):
        kohya.verify(images, file)


def test_queries_in_the_wrong_order_are_caught_in_gguf_format(
    texts: Witness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(texts.backbone, LanguageBackbone)
    with monkeypatch.context() as wrongly:
        wrongly.setattr(llama_cpp, "rows", lambda *_: None)
        gguf.write(texts.backbone, texts.adapter, tmp_path / gguf.FILE, "tiny", HEADER)
    with pytest.raises(JobFailure, match="in gguf format"):
        gguf.verify(texts, tmp_path / gguf.FILE)


def test_half_a_gguf_file_is_caught(texts: Witness, tmp_path: Path) -> None:
    file = tmp_path / gguf.FILE
    assert isinstance(texts.backbone, LanguageBackbone)
    gguf.write(texts.backbone, texts.adapter, file, "tiny", HEADER)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(JobFailure, match="in gguf format"):
        gguf.verify(texts, file)


@pytest.mark.parametrize("form", ["peft", "diffusers", "kohya", "gguf", "merged"])
def test_what_the_machine_lacks_is_not_the_files_fault(form: str) -> None:
    fault = torch.AcceleratorError("CUDA error: unspecified launch failure")
    for error in (MemoryError(), torch.OutOfMemoryError(), OSError(errno.ENOSPC, "full"), fault):
        with pytest.raises(type(error)), loading(form, "it"):
            raise error
    with pytest.raises(JobFailure, match=rf"in {form} format .* it does not load it \(KeyError\)"), loading(form, "it"):
        raise KeyError("lora_A")


def test_merged_weights_that_lack_a_tensor_are_caught(
    images: Witness, tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    merged.write(images, tiny_diffusion_folder, tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor * 1.001 for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
    with pytest.raises(JobFailure, match="in merged format"):
        merged.verify(images, tiny_diffusion_folder, tmp_path)


def test_an_adapter_that_does_nothing_is_never_published(tiny_diffusion: DiffusionBackbone) -> None:
    with pytest.raises(JobFailure, match="changes nothing"):
        image_witness(tiny_diffusion, tiny_diffusion.lora.new(4, 4.0))


def test_an_adapter_that_is_not_finite_is_never_published(tiny_diffusion: DiffusionBackbone) -> None:
    adapter = drawn(tiny_diffusion)
    next(iter(adapter.up.values())).data[0, 0, 0] = torch.nan
    with pytest.raises(JobFailure, match="not finite"):
        image_witness(tiny_diffusion, adapter)


def test_an_adapter_of_different_ranks_is_never_published(tiny_diffusion: DiffusionBackbone) -> None:
    adapter = drawn(tiny_diffusion)
    path = next(iter(adapter.down))
    uneven = replace(
        adapter,
        down=adapter.down | {path: adapter.down[path][:, :2]},
        up=adapter.up | {path: adapter.up[path][:, :, :2]},
    )
    with pytest.raises(JobFailure, match=r"different ranks \(2, 4\)"):
        image_witness(tiny_diffusion, uneven)

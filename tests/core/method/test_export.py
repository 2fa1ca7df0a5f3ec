"""Each exported file is loaded by its consumer's own call, here and in a process that has none of our code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.errors import JobFailure
from core.method import export
from core.method.backbone import Batch, Draw
from core.method.diffusion import DiffusionBackbone
from core.method.language import LanguageBackbone
from core.method.lora import Adapter


def drawn(backbone: DiffusionBackbone | LanguageBackbone) -> Adapter:
    adapter = backbone.lora.new(4, 12.0, seed=1)  # alpha is not the rank: a dropped scale would show
    for matrix in adapter.up.values():
        matrix.data.normal_(0, 0.05, generator=torch.Generator().manual_seed(2))
    return adapter


@pytest.fixture
def images(tiny_diffusion: DiffusionBackbone) -> tuple[Batch, Draw]:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    batch = {"mean": latents, "std": torch.zeros_like(latents), "text": tiny_diffusion.embed(["a cat", "a dog"])}
    return batch, tiny_diffusion.fixed_draws(1, 2, seed=0)[0]


def test_a_diffusers_file_and_a_peft_folder_give_the_same_noise(
    tiny_diffusion: DiffusionBackbone, images: tuple[Batch, Draw], tmp_path: Path
) -> None:
    adapter = drawn(tiny_diffusion)
    export.write_diffusers(tiny_diffusion, adapter, tmp_path / "diffusers", "tiny")
    export.write_peft(tiny_diffusion, adapter, tmp_path / "peft", "tiny")
    assert export.verify_diffusers(tiny_diffusion, adapter, tmp_path / "diffusers", *images) < 1e-3
    assert export.verify_peft(tiny_diffusion, adapter, tmp_path / "peft", *images) < 1e-3


def test_a_language_adapter_gives_the_same_logits(tiny_language: LanguageBackbone, tmp_path: Path) -> None:
    adapter = drawn(tiny_language)
    export.write_peft(tiny_language, adapter, tmp_path, "tiny")
    assert (
        export.verify_peft(tiny_language, adapter, tmp_path, tiny_language.encode([{"text": "a cat"}]), Draw()) < 1e-3
    )


def test_a_file_with_another_scale_is_caught(
    tiny_diffusion: DiffusionBackbone, images: tuple[Batch, Draw], tmp_path: Path
) -> None:
    adapter = drawn(tiny_diffusion)
    export.write_diffusers(tiny_diffusion, replace(adapter, alpha=4.0), tmp_path, "tiny")
    with pytest.raises(JobFailure, match="diffusers"):
        export.verify_diffusers(tiny_diffusion, adapter, tmp_path, *images)


def test_an_adapter_that_does_nothing_is_never_published(
    tiny_diffusion: DiffusionBackbone, images: tuple[Batch, Draw], tmp_path: Path
) -> None:
    adapter = tiny_diffusion.lora.new(4, 4.0)
    export.write_peft(tiny_diffusion, adapter, tmp_path, "tiny")
    with pytest.raises(JobFailure, match="changes nothing"):
        export.verify_peft(tiny_diffusion, adapter, tmp_path, *images)


def test_an_adapter_that_is_not_finite_is_never_published(
    tiny_diffusion: DiffusionBackbone, images: tuple[Batch, Draw], tmp_path: Path
) -> None:
    adapter = drawn(tiny_diffusion)
    next(iter(adapter.up.values())).data[0, 0, 0] = torch.nan
    export.write_peft(tiny_diffusion, adapter, tmp_path, "tiny")
    with pytest.raises(JobFailure, match="not finite"):
        export.verify_peft(tiny_diffusion, adapter, tmp_path, *images)


def test_a_process_without_our_code_loads_the_file(
    tiny_diffusion: DiffusionBackbone, tiny_diffusion_folder: Path, tmp_path: Path
) -> None:
    adapter = drawn(tiny_diffusion)
    export.write_diffusers(tiny_diffusion, adapter, tmp_path, "tiny")
    program = f"""
import sys, torch
torch.set_num_threads(1)
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained({str(tiny_diffusion_folder)!r}, safety_checker=None)
pipe.set_progress_bar_config(disable=True)
def draw():
    seed = torch.Generator().manual_seed(0)
    return pipe("a cat", num_inference_steps=2, height=16, width=16, output_type="pt", generator=seed).images
before = draw()
pipe.load_lora_weights({str(tmp_path)!r}, weight_name="pytorch_lora_weights.safetensors")
assert "core" not in sys.modules
print(float((draw() - before).abs().max()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) > 1e-3

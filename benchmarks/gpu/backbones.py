"""The backbones that are checked: the demo's, and random weights shaped as Stable Diffusion 1.5 and SmolLM2-135M."""

from __future__ import annotations

import random
import types
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from benchmarks.gpu.measuring import cuda
from benchmarks.gpu.setup import Setup
from core.backbones.families import FAMILIES
from core.backbones.record import BackboneRecord, read_record
from core.backbones.registry import BUILT_IN
from core.disk import ROOT
from core.method.backbones.backbone import Batch
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.training.batches import Captions, MixedBatches, SideBySide
from core.method.training.loop import Training
from core.parameters.parameters import Parameters
from core.parameters.request import BatRequest
from core.parameters.resolving import resolve
from core.parameters.summary import Kind, ReferenceSummary
from worker.stages import pool

Item = dict[str, Any]
REFERENCES = ROOT / "demo/emoji_ldm/references"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?:;'\"-()"
SENTENCE = "the cat sat on a mat and ships sail far over bread salt ends no more of that we know"
TOKENS = ["<pad>", "</s>", *LETTERS, " ", "\n", "<unk>"]
TEXT_TOKENS = 77  # of CLIP
TOY_UNET: dict[str, Any] = {
    "sample_size": 8,
    "layers_per_block": 1,
    "block_out_channels": (16, 32),
    "norm_num_groups": 8,
    "cross_attention_dim": 32,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 4,
}
TOY_VAE: dict[str, Any] = {  # eight pixels a latent, as Stable Diffusion's
    "block_out_channels": (8,) * 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "norm_num_groups": 8,
}
SD15_UNET: dict[str, Any] = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}


def llama_shape(width: int, inner: int, layers: int, heads: int, key_heads: int, words: int) -> dict[str, int]:
    """Return what LlamaConfig is told of a model's size."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": words,
    }


LLAMAS = {
    "toy": llama_shape(64, 128, 2, 4, 2, len(TOKENS)),
    "small": llama_shape(256, 704, 6, 8, 4, len(TOKENS)),  # what a CPU computes in seconds
    "135m": llama_shape(576, 1536, 30, 9, 3, 49152),
}


def own_dtype() -> torch.dtype:
    """Return the numbers that jobs compute with here."""
    return torch.bfloat16 if cuda() else torch.float32


def emoji(device: str, dtype: torch.dtype | None = None) -> DiffusionBackbone:
    """Load the demo's backbone as a job does, or in float32 as it was trained: by way of bf16 its weights differ."""
    record = read_record(BUILT_IN["emoji-ldm"])
    assert record.resolution is not None
    backbone = DiffusionBackbone.load(
        record.path,
        resolution=record.resolution,
        target_modules=record.target_modules,
        device="cpu" if dtype else device,
    )
    if dtype is not None:
        backbone.pipeline.to(device, dtype)
    return backbone


def emoji_items(amount: int) -> tuple[list[Item], list[Item]]:
    """Return six drawings of the demo with captions, and so many candidates of its pool."""
    candidates = pool.load(read_record(BUILT_IN["emoji-ldm"]))
    assert candidates is not None
    references = []
    for file in sorted(REFERENCES.rglob("*.png"))[:6]:
        caption = file.with_suffix(".txt").read_text().strip()
        references.append({"image": Image.open(file).convert("RGB"), "caption": f"emoji of {caption}"})
    return references, [dict(candidate.item) for candidate in candidates.candidates[:amount]]


def language_folder(folder: Path, size: str) -> Path:
    """Write a LLaMA of random weights with a tokenizer of letters, once."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    target = folder / f"llama-{size}"
    if target.exists():
        return target
    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordLevel({token: n for n, token in enumerate(TOKENS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(target)
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    config = LlamaConfig(max_position_embeddings=2048, tie_word_embeddings=True, **ids, **LLAMAS[size])
    LlamaForCausalLM(config).to(own_dtype()).save_pretrained(target)
    return target


def language(
    folder: Path, size: str, device: str, dtype: torch.dtype | None = None, tokens: int = 96
) -> LanguageBackbone:
    """Load a LLaMA of random weights as a job does, or in other numbers."""
    backbone = LanguageBackbone.load(
        language_folder(folder, size),
        max_tokens=tokens,
        target_modules=FAMILIES["llama"].targets,
        device="cpu" if dtype else device,
    )
    if dtype is not None:
        backbone.model.to(device, dtype)  # type: ignore[arg-type]
    return backbone


def text_items(amount: int, seed: int = 0, words: int = 12) -> list[Item]:
    """Return made-up questions and answers."""
    draw, known = random.Random(seed), SENTENCE.split()

    def some() -> str:
        return " ".join(draw.choice(known) for _ in range(draw.randint(2, words)))

    return [{"prompt": some(), "completion": some()} for _ in range(amount)]


def sized_unet(setup: Setup) -> tuple[nn.Module, Any]:
    """Return a UNet in the shape of Stable Diffusion 1.5 (tiny: a small one) with random weights, and a scheduler."""
    from diffusers import DDPMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(setup.device):
        unet = UNet2DConditionModel(**setup.size(SD15_UNET, TOY_UNET))
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    return unet.to(own_dtype()), scheduler


def sized(setup: Setup) -> DiffusionBackbone:
    """Return such a UNet as a backbone at 512 pixels a side (tiny: 64); it takes latents and encodes nothing."""
    from diffusers import AutoencoderKL

    unet, scheduler = sized_unet(setup)
    pipeline: Any = types.SimpleNamespace(unet=unet, vae=AutoencoderKL(**TOY_VAE), scheduler=scheduler)
    conditioner: Any = types.SimpleNamespace(names=("text",))
    return DiffusionBackbone(
        pipeline, conditioner, resolution=setup.size(512, 64), target_modules=FAMILIES["sd1"].targets
    )


def latents(backbone: DiffusionBackbone, amount: int) -> Batch:
    """Return encoded pictures that are noise."""
    draw = torch.Generator().manual_seed(5)
    side, width = backbone.resolution // 8, backbone.network.config.cross_attention_dim
    return {
        "mean": torch.randn(amount, 4, side, side, generator=draw),
        "std": torch.full((amount, 4, side, side), 0.1),
        "text": torch.randn(amount, TEXT_TOKENS, width, generator=draw),
    }


def stream(backbone: DiffusionBackbone | LanguageBackbone, batch: Batch, size: int, seed: int = 0) -> MixedBatches:
    """Return batches of the references alone."""
    return MixedBatches(backbone, batch, Protection(), size, Captions(0.0, None), seed)


def training(
    backbone: DiffusionBackbone | LanguageBackbone,
    batch: Batch,
    size: int,
    *,
    runs: int = 1,
    rank: int = 16,
    pieces: int = 1,
    rate: float = 1e-4,
) -> tuple[Training, Adapter]:
    """Return an endless training of `runs` stacked adapters, and those."""
    adapter = backbone.lora.new(rank, float(rank), runs=runs)
    batches = SideBySide([stream(backbone, batch, size, run) for run in range(runs)])
    return Training(backbone, adapter, batches, learning_rate=rate, max_steps=10**9, pieces=pieces), adapter


def warmed(adapter: Adapter, seed: int = 3, size: float = 0.02) -> Adapter:
    """Return the adapter with a B that is not zero, the same on every device."""
    draw = torch.Generator().manual_seed(seed)
    up = {path: (torch.randn(m.shape, generator=draw) * size).to(m.device) for path, m in adapter.up.items()}
    return Adapter(adapter.rank, adapter.alpha, {path: m.detach().clone() for path, m in adapter.down.items()}, up)


def parameters(kind: Kind, **changes: object) -> Parameters:
    """Return what "auto" comes to on a GPU for six references, with these values changed."""
    record = BackboneRecord(
        id="x",
        family="sd1" if kind == "images" else "llama",
        path=Path("/"),
        revision="1",
        sha256={},
        target_modules=("x",),
        licence="x",
        pool=Path("/"),
        resolution=32 if kind == "images" else None,
    )
    summary = ReferenceSummary(kind=kind, count=6, prompts=("one", "two"))
    settled = resolve(BatRequest(), None, backbone=record, summary=summary, device_class="cuda", seed=0)
    return settled.model_copy(update=changes)

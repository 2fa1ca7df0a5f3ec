"""Tiny backbones of the true classes with random weights: real code paths in milliseconds. Fixtures for all tests.

torch is imported by the fixtures alone, so that tests without a backbone do not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPTextConfig, PreTrainedTokenizerFast

    from core.method.backbones.images.diffusion import DiffusionBackbone
    from core.method.backbones.texts.language import LanguageBackbone

UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")
LLAMA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SMALL_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 8,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?:'-"


@pytest.fixture(scope="session")
def tiny_diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-diffusion")
    random_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_diffusion(tiny_diffusion_folder: Path) -> DiffusionBackbone:
    from core.method.backbones.images.diffusion import DiffusionBackbone

    return DiffusionBackbone.load(tiny_diffusion_folder, resolution=16, target_modules=UNET_TARGETS)


@pytest.fixture(scope="session")
def tiny_language_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language(tmp_path_factory.mktemp("tiny-language"))


def write_language(folder: Path, *, more: str = "") -> Path:
    """Write a LLaMA of two layers and a tokenizer of letters, and of `more` of them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokens = ["<pad>", "</s>", *LETTERS, " ", "\n", "<unk>", *more]
    letter_tokenizer(tokens).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_language(tiny_language_folder: Path) -> LanguageBackbone:
    from core.method.backbones.texts.language import LanguageBackbone

    return LanguageBackbone.load(tiny_language_folder, max_tokens=48, target_modules=LLAMA_TARGETS)


def random_diffusion() -> StableDiffusionPipeline:
    """Latent diffusion with two blocks a side and a text encoder that spells."""
    import torch
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    vocabulary = spelling_vocabulary()
    return StableDiffusionPipeline(
        vae=AutoencoderKL(**SMALL_VAE, sample_size=16),
        text_encoder=CLIPTextModel(text_encoder_configuration(vocabulary)),
        tokenizer=CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24),
        unet=UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            layers_per_block=1,
            block_out_channels=(16, 32),
            norm_num_groups=8,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        ),
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def spelling_vocabulary() -> dict[str, int]:
    """A number for each letter, within a word and at its end."""
    tokens = [letter + end for end in ("", "</w>") for letter in LETTERS] + ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def text_encoder_configuration(vocabulary: dict[str, int]) -> CLIPTextConfig:
    from transformers import CLIPTextConfig

    end = vocabulary["<|endoftext|>"]
    return CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=24,
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
        projection_dim=32,
    )


def letter_tokenizer(tokens: list[str]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")

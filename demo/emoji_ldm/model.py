"""Build the untrained components of the emoji latent diffusion model."""

from collections.abc import Iterable
from json import loads
from string import ascii_lowercase, digits

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

IMAGE_SIZE = 32
LATENT_CHANNELS = 4
VAE_WIDTHS = (24, 48)
UNET_WIDTHS = (48, 96, 160)
TEXT_WIDTH = 128
MAX_TOKENS = 24
VOCABULARY = 2048
END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """Learn a byte-pair vocabulary from the captions in the layout CLIP tokenizers use."""
    alphabet = ascii_lowercase + digits + ",."
    learned = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix=END_OF_WORD))
    learned.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        end_of_word_suffix=END_OF_WORD,
        special_tokens=[],
        initial_alphabet=list(alphabet),
        show_progress=False,
    )
    learned.train_from_iterator(texts, trainer)
    state = loads(learned.to_str())["model"]
    vocabulary: dict[str, int] = dict(state["vocab"])
    # Words outside the captions ("sks") must fall apart into letters, never into the unknown token.
    letters = [letter + suffix for letter in alphabet for suffix in ("", END_OF_WORD)]
    for token in (*letters, START, END):
        vocabulary.setdefault(token, len(vocabulary))
    merges = [tuple(pair) for pair in state["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)


def build_vae(
    side: int = IMAGE_SIZE, widths: tuple[int, ...] = VAE_WIDTHS, channels: int = LATENT_CHANNELS, **more: float
) -> AutoencoderKL:
    """Build an autoencoder that halves each side once a width but the last; a factor of four blurs 32-pixel emoji."""
    stages = len(widths)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=side,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        **more,
    )


def build_unet() -> UNet2DConditionModel:
    """Build a 7.1 M parameter denoiser with cross-attention at 8x8 and 4x4."""
    cross_down, cross_up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    return UNet2DConditionModel(
        sample_size=IMAGE_SIZE // 2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=UNET_WIDTHS,
        down_block_types=("DownBlock2D", cross_down, cross_down),
        up_block_types=(cross_up, cross_up, "UpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,  # this class reads the value as the number of heads
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Build a two-layer text encoder over the tokenizer's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=TEXT_WIDTH,
        )
    )


def build_scheduler() -> DDPMScheduler:
    """Build the noise schedule of latent diffusion with epsilon prediction."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon",
        clip_sample=False,
        steps_offset=1,
    )


def token_ids(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Encode captions as int64 (N, 24)."""
    encoded = tokenizer(captions, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
    return encoded.input_ids


def build_pipeline(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Join the components into a pipeline without safety checker and feature extractor."""
    return StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )

"""Tiny folders of the families that learn by flow matching: their true pipelines and parts, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.tiny_backbones import LETTERS, random_diffusion, spelling_vocabulary, text_encoder_configuration

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, FluxPipeline, StableDiffusion3Pipeline
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

HEADS = {"num_attention_heads": 2, "attention_head_dim": 16}
BY_TOKENS = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 4}


def random_sd3(*, t5: bool = True) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3.5 in small: one block of two attentions, and one that gives no text."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(3)
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            **HEADS,
            sample_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            joint_attention_dim=96,
            caption_projection_dim=32,
            pooled_projection_dim=64,
            pos_embed_max_size=16,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=shifted_vae(),
        text_encoder=clip(32),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(64),
        tokenizer_2=clip_tokenizer(pad_token="!"),
        text_encoder_3=t5_encoder(96) if t5 else None,
        tokenizer_3=t5_tokenizer() if t5 else None,
    )


def random_flux() -> FluxPipeline:
    """FLUX.1-dev in small: one block of two streams, two of one, and guidance that is told."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(4)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            **HEADS,
            in_channels=16,
            num_layers=1,
            num_single_layers=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **BY_TOKENS),
        vae=shifted_vae(),
        text_encoder=random_diffusion().text_encoder,
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_encoder(32),
        tokenizer_2=t5_tokenizer(),
    )


def shifted_vae() -> AutoencoderKL:
    """A VAE whose latents are shifted before they are scaled."""
    from diffusers import AutoencoderKL

    own: dict[str, Any] = {name: value for name, value in random_diffusion().vae.config.items() if name[0] != "_"}
    return AutoencoderKL(**own | {"scaling_factor": 1.5, "shift_factor": 0.06})


def clip(width: int) -> CLIPTextModelWithProjection:
    from transformers import CLIPTextModelWithProjection

    configuration = text_encoder_configuration(spelling_vocabulary())
    configuration.hidden_size = width
    return CLIPTextModelWithProjection(configuration)


def clip_tokenizer(**options: Any) -> CLIPTokenizer:
    from transformers import CLIPTokenizer

    return CLIPTokenizer(vocab=spelling_vocabulary(), merges=[], model_max_length=24, **options)


def t5_encoder(width: int) -> T5EncoderModel:
    from transformers import T5Config, T5EncoderModel

    words = len(LETTERS) + 4
    sides = {"d_model": width, "d_kv": 8, "d_ff": 48, "num_heads": 2, "num_layers": 2}
    return T5EncoderModel(T5Config(vocab_size=words, feed_forward_proj="gated-gelu", **sides))


def t5_tokenizer() -> T5TokenizerFast:
    """A tokenizer of letters, as T5 has one of pieces."""
    from transformers import T5TokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS)]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)

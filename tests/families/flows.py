"""Tiny folders of the families that learn by flow matching: their true pipelines and parts, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.families.encoders import (
    clip,
    clip_tokenizer,
    mistral_tokenizer,
    mistral_vision,
    qwen3,
    qwen3_config,
    qwen_tokenizer,
    qwen_vision,
    t5_encoder,
    t5_tokenizer,
)
from tests.tiny_backbones import SMALL_VAE, random_diffusion

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        AutoencoderKLFlux2,
        Flux2KleinPipeline,
        Flux2Pipeline,
        Flux2Transformer2DModel,
        FluxPipeline,
        QwenImagePipeline,
        StableDiffusion3Pipeline,
        ZImagePipeline,
    )

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


def random_flux2_klein() -> Flux2KleinPipeline:
    """FLUX.2-klein-base in small, and an encoder as deep as it is read."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(7)
    return Flux2KleinPipeline(
        vae=patched_vae(),
        transformer=flux2_transformer(guided=False),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **BY_TOKENS),
        text_encoder=Qwen3ForCausalLM(qwen3_config(hidden_size=16, intermediate_size=24, num_hidden_layers=28)),
        tokenizer=qwen_tokenizer(),
    )


def random_flux2() -> Flux2Pipeline:
    """FLUX.2-dev in small, with the tokenizer of its processor alone, which itself needs torchvision."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, Flux2Pipeline

    torch.manual_seed(8)
    return Flux2Pipeline(
        vae=patched_vae(),
        transformer=flux2_transformer(guided=True),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **BY_TOKENS),
        text_encoder=mistral_vision(),
        tokenizer=mistral_tokenizer(),
    )


def flux2_transformer(*, guided: bool) -> Flux2Transformer2DModel:
    """One block of two streams and two of one."""
    import torch
    from diffusers import Flux2Transformer2DModel

    transformer = Flux2Transformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guided,
    )
    with torch.no_grad():  # else next to nothing of a block is let through
        for name, weight in transformer.named_parameters():
            if "stream_modulation" in name:
                weight.mul_(10)
    return transformer


def patched_vae() -> AutoencoderKLFlux2:
    """A VAE that norms its latents by what it has seen."""
    from diffusers import AutoencoderKLFlux2

    vae = AutoencoderKLFlux2(**SMALL_VAE)
    vae.bn.running_mean.normal_(0, 0.3)
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae


def random_zimage() -> ZImagePipeline:
    """Z-Image in small: pictures and captions are refined apart, and joined."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel

    torch.manual_seed(5)
    return ZImagePipeline(
        transformer=ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[4, 6, 6],
            axes_lens=[256, 64, 64],
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=shifted_vae(),
        text_encoder=qwen3(),
        tokenizer=qwen_tokenizer(),
    )


def random_qwen_image() -> QwenImagePipeline:
    """Qwen-Image in small: two blocks, the last of which throws its texts away, and a VAE of films."""
    import torch
    from diffusers import (
        AutoencoderKLQwenImage,
        FlowMatchEulerDiscreteScheduler,
        QwenImagePipeline,
        QwenImageTransformer2DModel,
    )

    torch.manual_seed(6)
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            **HEADS, in_channels=16, out_channels=4, num_layers=2, joint_attention_dim=32, axes_dims_rope=(4, 6, 6)
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(**BY_TOKENS, shift_terminal=0.02),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 2],
            num_res_blocks=1,
            temperal_downsample=[False],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[0.5, 0.8, 1.2, 0.6],
        ),
        text_encoder=qwen_vision(),
        tokenizer=qwen_tokenizer(),
    )


def shifted_vae() -> AutoencoderKL:
    """A VAE whose latents are shifted before they are scaled."""
    from diffusers import AutoencoderKL

    own: dict[str, Any] = {name: value for name, value in random_diffusion().vae.config.items() if name[0] != "_"}
    return AutoencoderKL(**own | {"scaling_factor": 1.5, "shift_factor": 0.06})

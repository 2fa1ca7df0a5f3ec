"""Tiny folders of the families that learn by flow matching: their true pipelines and parts, with random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.families.texts import CHATML, tokens
from tests.tiny_backbones import LETTERS, random_diffusion, spelling_vocabulary, text_encoder_configuration

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        Flux2KleinPipeline,
        FluxPipeline,
        QwenImagePipeline,
        StableDiffusion3Pipeline,
        ZImagePipeline,
    )
    from transformers import (
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2Tokenizer,
        Qwen3Config,
        Qwen3Model,
        T5EncoderModel,
        T5TokenizerFast,
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
    """FLUX.2-klein-base in small: one block of two streams, two of one, and an encoder as deep as it is read."""
    import torch
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(7)
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
    )
    vae.bn.running_mean.normal_(0, 0.3)
    vae.bn.running_var.uniform_(0.5, 2.0)
    transformer = Flux2Transformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        joint_attention_dim=48,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    with torch.no_grad():  # else next to nothing of a block is let through
        for name, weight in transformer.named_parameters():
            if "stream_modulation" in name:
                weight.mul_(10)
    return Flux2KleinPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, **BY_TOKENS),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(qwen3_config(hidden_size=16, intermediate_size=24, num_hidden_layers=28)),
        tokenizer=qwen_tokenizer(),
    )


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


def qwen_vision() -> Qwen2_5_VLForConditionalGeneration:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}
    sides = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    text = {"vocab_size": len(tokens()), **sides, **heads, "rope_parameters": rope}
    eyes = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    marks = dict.fromkeys(("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"), 0)
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=eyes, **marks))


def qwen3() -> Qwen3Model:
    from transformers import Qwen3Model

    return Qwen3Model(qwen3_config(hidden_size=32, intermediate_size=48, num_hidden_layers=2))


def qwen3_config(**sides: int) -> Qwen3Config:
    from transformers import Qwen3Config

    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    return Qwen3Config(vocab_size=len(tokens()), **sides, **heads)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A tokenizer of bytes that writes a chat as Qwen's do, with a thought where none is asked for."""
    from transformers import Qwen2Tokenizer

    marks = {"eos_token": "<|im_end|>", "pad_token": "<pad>", "unk_token": "<pad>"}
    vocabulary = {token: number for number, token in enumerate(tokens())}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=["<|im_start|>"], **marks)
    made.chat_template = CHATML + "{% if enable_thinking is false %}{{ '<think></think>' }}{% endif %}"
    return made


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

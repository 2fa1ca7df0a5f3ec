"""Tiny networks of families whose modules are named in ways that catch targets out."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FluxTransformer2DModel, UNet2DConditionModel
from torch import Tensor, nn
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

IDS = torch.tensor([[5, 9, 2, 7, 11, 3], [8, 8, 4, 1, 0, 0]])
MASK = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}


def gemma3() -> nn.Module:
    """Text and vision towers with projections of the same names."""
    torch.manual_seed(0)
    text = SMALL | {"head_dim": 8, "sliding_window": 16}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=text,
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
        image_token_index=60,
        boi_token_index=61,
        eoi_token_index=62,
    )
    return Gemma3ForConditionalGeneration(config).eval()


def qwen3_moe() -> nn.Module:
    """Experts that are 3-D parameters and no modules."""
    torch.manual_seed(0)
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SMALL, **experts)).eval()


def phi3() -> nn.Module:
    """Projections that are fused: qkv_proj and gate_up_proj."""
    torch.manual_seed(0)
    return Phi3ForCausalLM(Phi3Config(**SMALL)).eval()


def llama(**more: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL | more)).eval()


def flux() -> FluxTransformer2DModel:
    """A `proj_out` in its single blocks, and another one at its end."""
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 6, 6),
    ).eval()


def unet(**more: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 32),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        **{"attention_head_dim": 4} | more,
    ).eval()


def sdxl() -> UNet2DConditionModel:
    return unet(
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 48,
    )


def logits(network: nn.Module) -> Tensor:
    return network(input_ids=IDS, attention_mask=MASK, use_cache=False).logits[MASK.bool()]


def noise(network: nn.Module) -> Tensor:
    """What a UNet says of the same two noisy pictures, always."""
    generator = torch.Generator().manual_seed(1)
    pictures, words = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 5, 32, generator=generator)
    kind = next(network.parameters()).dtype
    sides = torch.arange(6.0).repeat(2, 1)
    added = {"text_embeds": torch.randn(2, 16, generator=generator), "time_ids": sides}
    return network(pictures.to(kind), torch.tensor([10, 700]), words.to(kind), added_cond_kwargs=added).sample


def packed(network: nn.Module) -> Tensor:
    """What a FLUX says of the same two pictures of 4 x 4 latents, always."""
    generator = torch.Generator().manual_seed(1)
    places = torch.stack([torch.zeros(16), torch.arange(16) // 4, torch.arange(16) % 4], dim=1).float()
    return network(
        hidden_states=torch.randn(2, 16, 16, generator=generator),
        encoder_hidden_states=torch.randn(2, 5, 32, generator=generator),
        pooled_projections=torch.randn(2, 16, generator=generator),
        timestep=torch.tensor([0.2, 0.9]),
        img_ids=places,
        txt_ids=torch.zeros(5, 3),
    ).sample

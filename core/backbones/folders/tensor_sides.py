"""The first tensors of each network of a diffusers folder, held against what its configuration says of their sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.backbones.folders.files import json_object
from core.backbones.folders.language import text_config
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import Weight

Config = Mapping[str, object]
Sides = tuple[object, ...]
VAE_FIRST = "encoder.conv_in.weight"
CLIP_FIRST = "embeddings.token_embedding.weight"
T5_FIRST = "shared.weight"
DECODER_FIRST = "embed_tokens.weight"
DECODERS = {"qwen3", "qwen2_5_vl", "mistral3"}
# Of each transformer, the first tensor of a picture, and how many places of its channels that sees at once; its sides
# are its inner width and those.
FIRST = {
    "SD3Transformer2DModel": ("pos_embed.proj.weight", 1),
    "FluxTransformer2DModel": ("x_embedder.weight", 1),
    "Flux2Transformer2DModel": ("x_embedder.weight", 1),
    "QwenImageTransformer2DModel": ("img_in.weight", 1),
    "ZImageTransformer2DModel": ("all_x_embedder.2-1.weight", 4),
}


def check_sides(folder: Path, weights: Mapping[str, Mapping[str, Weight]]) -> None:
    """Raise InvalidInput where a network's first tensor is not as its configuration says, where it says it."""
    for part, found in weights.items():
        config = json_object(folder, f"{part}/config.json")
        _check(part, found, *_expected(part, config, found))


def _expected(part: str, config: Config, weights: Mapping[str, Weight]) -> tuple[str, Sides]:
    """Return the name of a part's first tensor, and its sides as far as they are said."""
    if part == "unet":
        return "conv_in.weight", (_first(config), config.get("in_channels"), 3, 3)
    if part == "transformer":
        name, places = FIRST[str(config.get("_class_name"))]
        channels = config.get("in_channels")
        return name, (_width(config), channels * places if isinstance(channels, int) else None)
    if part == "vae":
        return VAE_FIRST, (_first(config), config.get("in_channels"), 3, 3)
    if config.get("model_type") == "t5":
        return T5_FIRST, (config.get("vocab_size"), config.get("d_model"))
    first, prefix = CLIP_FIRST, "text_model"
    if config.get("model_type") in DECODERS:
        first, prefix, config = DECODER_FIRST, "model", text_config(config)
    name = next((each for each in weights if each.endswith(first)), f"{prefix}.{first}")
    return name, (config.get("vocab_size"), config.get("hidden_size"))


def _width(config: Config) -> object:
    """Return the inner width of a transformer: what it says, or all its heads together."""
    if "dim" in config:
        return config["dim"]
    heads, each = config.get("num_attention_heads"), config.get("attention_head_dim")
    return heads * each if isinstance(heads, int) and isinstance(each, int) else None


def _first(config: Config) -> object:
    channels = config.get("block_out_channels")
    return channels[0] if isinstance(channels, list) and channels else config.get("base_dim")


def _check(part: str, weights: Mapping[str, Weight], name: str, expected: Sides) -> None:
    weight = weights.get(name)
    if weight is None:
        raise refused(f"the weights of {part} have no {name}; they are another network's")
    if any(isinstance(side, int) and side != there for side, there in zip(expected, weight.shape, strict=False)):
        sides = " x ".join(map(str, weight.shape))
        raise refused(f"{name} of {part} is {sides}, which is not what {part}/config.json says; fetch both again")

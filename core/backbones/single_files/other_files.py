"""What else is handed out as one file, by a part of its tensors' names: what it is, and what to bring instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from core.backbones.folders.other_pipelines import CAPTIONS_ALONE, EDITED, instead
from core.backbones.folders.weights import Weight

ADAPTER = re.compile(r"lora_(up|down|A|B|unet|te)|hada_w|lokr_|\.dora_scale|oft_blocks|(^|\.)alpha$")
CONTROLS = f"it steers a model by pictures that it is given (ControlNet){CAPTIONS_ALONE}; bring that model instead"
SHOWS = f"it shows pictures to a model (IP-Adapter){CAPTIONS_ALONE}; bring that model instead"
NOT_TAKEN = "whose family is not taken yet"
EDIT_CHANNELS = {5: "it is told depth", 7: "it sharpens pictures", 8: EDITED, 9: "it repaints a part of pictures"}
# Of a FLUX.1 transformer, which reads 64 of a picture that is drawn.
FLUX_CHANNELS = {
    128: f"it draws from edges or depths that it is given (FLUX.1 Canny or Depth){CAPTIONS_ALONE}",
    384: f"it repaints a part of pictures that it is given (FLUX.1 Fill){CAPTIONS_ALONE}",
}
FLUX_FIRST = re.compile(r"(^|\.)(img_in|x_embedder)\.weight$")
# A part of a tensor's name, what the file is, and the class whose relatives are named.
TRANSFORMERS = (
    ("distilled_guidance_layer.", f"it is a Chroma model, {NOT_TAKEN}", "ChromaPipeline"),
    ("txt_in.individual_token_refiner.", "it makes videos (HunyuanVideo)", "HunyuanVideoPipeline"),
    ("early_stream_modulations.", f"it is a FLUX.3 model, {NOT_TAKEN}", "Flux3Pipeline"),
    ("double_stream_modulation_img.", "it is the transformer of FLUX.2 alone", "Flux2Pipeline"),
    ("double_stream_blocks.", f"it is a HiDream model, {NOT_TAKEN}", "HiDreamImagePipeline"),
    ("double_layers.", f"it is an AuraFlow model, {NOT_TAKEN}", "AuraFlowPipeline"),
    ("double_blocks.", "it is the transformer of FLUX.1 alone", "FluxPipeline"),
    ("single_transformer_blocks.", "it is the transformer of FLUX.1 alone", "FluxPipeline"),
    ("joint_blocks.", "it is the transformer of Stable Diffusion 3", "StableDiffusion3Pipeline"),
    ("norm1_context.", "it is the transformer of Stable Diffusion 3 alone", "StableDiffusion3Pipeline"),
    ("patchify_proj.", "it makes videos (LTX)", "LTXPipeline"),
    ("attn.qkv_x.", "it makes videos (Mochi)", "MochiPipeline"),
    ("head.modulation", "it makes videos (Wan)", "WanPipeline"),
    ("patch_embed.text_proj.", "it makes videos (CogVideoX)", "CogVideoXPipeline"),
    ("net.x_embedder.", "it makes videos (Cosmos)", "CosmosTextToWorldPipeline"),
    ("cross_attn.kv_linear.", f"it is a Sana or PixArt model, {NOT_TAKEN}", "SanaPipeline"),
    ("txtfusion.", f"it is a Krea model, {NOT_TAKEN}", "Krea2Pipeline"),
    ("txt_in.text_norm.", f"it is a Qwen-Image 2.1 model, {NOT_TAKEN}", "QwenImage21Pipeline"),
    ("img_mlp.", "it is the transformer of Qwen-Image alone", "QwenImagePipeline"),
    ("layers.0.adaLN_modulation.", "it is the transformer of Z-Image alone", "ZImagePipeline"),
    ("cap_embedder.", f"it is a Lumina model, {NOT_TAKEN}", "Lumina2Pipeline"),
    ("clip_txt_mapper.", f"it is a Stable Cascade model, {NOT_TAKEN}", "StableCascadeCombinedPipeline"),
)
# Diffusers' classes of the transformers that are taken alone.
CLASSES = {
    "StableDiffusion3Pipeline": "SD3Transformer2DModel",
    "FluxPipeline": "FluxTransformer2DModel",
    "Flux2Pipeline": "Flux2Transformer2DModel",
    "QwenImagePipeline": "QwenImageTransformer2DModel",
    "ZImagePipeline": "ZImageTransformer2DModel",
}
OTHERS = (
    ("conditioner.embedders.0.model.", "it is the refiner of Stable Diffusion XL; bring the base model instead"),
    ("control_model.", CONTROLS),
    ("input_hint_block.", CONTROLS),
    ("controlnet_", CONTROLS),
    ("control_layers.", CONTROLS),
    ("control_all_x_embedder.", CONTROLS),
    ("ip_adapter.", SHOWS),
    ("image_proj.", SHOWS),
    ("motion_modules.", "it makes videos (AnimateDiff); bring the Stable Diffusion model that it moves instead"),
    ("emb_params", "it is an embedding (textual inversion), not a model"),
)
PART = "it is one part of a diffusers folder; give the folder with model_index.json"


def other_model(weights: Mapping[str, Weight]) -> str | None:
    """Say what a file is that can't be converted, by its tensors; None where none of this is known of it."""
    if words := next((words for part, words in OTHERS if _any(part, weights)), None):
        return words
    for part, words, root in TRANSFORMERS:
        if _any(part, weights):
            return f"{_not_taken(weights, root) or words}; {instead(root)}"
    return PART if _any("down_blocks.", weights) else None


def alone(weights: Mapping[str, Weight]) -> tuple[str, str] | None:
    """Return diffusers' class of the transformer that a file holds, and whose it is; None where it is none of ours."""
    if unfit(weights) is not None or any(ADAPTER.search(name) for name in weights):
        return None
    found = next(((words, root) for part, words, root in TRANSFORMERS if _any(part, weights)), None)
    if found is None or found[1] not in CLASSES or _not_taken(weights, found[1]) is not None:
        return None
    words, root = found
    return CLASSES[root], words.removeprefix("it is ").removesuffix(" alone")


def unfit(weights: Mapping[str, Weight]) -> str | None:
    """Say what a whole checkpoint of Stable Diffusion is more than that; None where it is not."""
    return next((words for part, words in OTHERS if _any(part, weights)), None)


def _not_taken(weights: Mapping[str, Weight], root: str) -> str | None:
    """Say why a transformer of FLUX.1 is not taken: it is given pictures."""
    first = next((each for name, each in weights.items() if FLUX_FIRST.search(name)), None)
    if root != "FluxPipeline" or first is None or len(first.shape) != 2:
        return None
    return FLUX_CHANNELS.get(first.shape[1])


def _any(part: str, weights: Iterable[str]) -> bool:
    return any(part in name for name in weights)

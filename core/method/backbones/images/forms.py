"""The forms of folders that are read: of each its pipeline, what its network is told and how, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    ModelMixin,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from core.method.backbones.images import calls, sights
from core.method.backbones.images.calls import Call
from core.method.backbones.images.conditioners.chat import Chat, Described, Layered, Reasoned
from core.method.backbones.images.conditioners.clip import Clip, ClipPair
from core.method.backbones.images.conditioners.conditioner import Conditioner
from core.method.backbones.images.conditioners.t5 import ClipPairT5, ClipT5
from core.method.backbones.images.folder import EncoderClasses, Folder
from core.method.backbones.images.latents import Latents, NormedLatents, PackedLatents, PatchedLatents
from core.method.backbones.images.objective import Ddpm, Flow, Objective
from core.method.backbones.images.sights import Sights

FormName = Literal["sd", "sdxl", "sd3", "flux", "flux2", "flux2-klein", "zimage", "qwen-image"]
Parts = tuple[DiffusionPipeline, Conditioner]


@dataclass(frozen=True)
class Form:
    """A form of folders: `read` gives the pipeline without its text encoders, which the conditioner reads in time.

    `part` is what is adapted; the objective is made of the scheduler's configuration. Flows are drawn in as many steps
    and with as much guidance as their pipelines take by themselves.
    """

    read: Callable[[Folder], Parts]
    call: Call
    sights: Sights
    part: str = "unet"
    objective: Callable[[Mapping[str, Any]], Objective] = Ddpm
    latents: type[Latents] = Latents
    steps: int = 20  # in which pictures are drawn
    guidance: float = 3.0
    guided: str = "guidance_scale"  # the pipeline's argument


def read(folder: Folder, name: FormName) -> Parts:
    """Read a pipeline without its text encoders, and the conditioner that reads those when it needs them."""
    pipeline, conditioner = FORMS[name].read(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(folder.device), conditioner


def _sd(folder: Folder) -> Parts:
    tokenizer = folder.tokenizer("tokenizer")
    pipeline = StableDiffusionPipeline(
        vae=folder.vae(folder.dtype),
        text_encoder=None,
        tokenizer=tokenizer,
        unet=folder.network("unet", UNet2DConditionModel),
        scheduler=folder.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return pipeline, Clip(tokenizer, folder.encoders({"text_encoder": CLIPTextModel}))


def _sdxl(folder: Folder) -> Parts:
    tokenizers = folder.tokenizer("tokenizer"), folder.tokenizer("tokenizer_2")
    zeros = bool(folder.index().get("force_zeros_for_empty_prompt", True))
    pipeline = StableDiffusionXLPipeline(
        vae=folder.vae(torch.float32),  # in halves it overflows, and in bf16 it is coarse
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=folder.network("unet", UNet2DConditionModel),
        scheduler=folder.scheduler(),
        force_zeros_for_empty_prompt=zeros,
        add_watermarker=False,
    )
    classes: EncoderClasses = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    return pipeline, ClipPair(tokenizers, folder.encoders(classes), zeros=zeros)


def _sd3(folder: Folder) -> Parts:
    tokenizers = folder.tokenizer("tokenizer"), folder.tokenizer("tokenizer_2")
    whole = folder.has("text_encoder_3")
    pipeline = StableDiffusion3Pipeline(
        vae=folder.vae(torch.float32),
        text_encoder=None,
        text_encoder_2=None,
        text_encoder_3=None,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        tokenizer_3=None,
        transformer=folder.network("transformer", SD3Transformer2DModel),
        scheduler=folder.flow(),
    )
    clips = dict.fromkeys(("text_encoder", "text_encoder_2"), CLIPTextModelWithProjection)
    encoders = folder.encoders({**clips, "text_encoder_3": T5EncoderModel} if whole else clips)
    third = folder.other_tokenizer("tokenizer_3") if whole else None
    return pipeline, ClipPairT5(tokenizers, third, encoders, int(pipeline.transformer.config.joint_attention_dim))


def _flux(folder: Folder) -> Parts:
    tokenizers = folder.tokenizer("tokenizer"), folder.other_tokenizer("tokenizer_2")
    pipeline = FluxPipeline(
        vae=folder.vae(torch.float32),
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        transformer=folder.network("transformer", FluxTransformer2DModel),
        scheduler=folder.flow(),
    )
    classes: EncoderClasses = {"text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel}
    return pipeline, ClipT5(*tokenizers, folder.encoders(classes))


def _chat(
    folder: Folder,
    pipeline: type[DiffusionPipeline],
    network: type[ModelMixin],
    conditioner: type[Chat],
    vae: type[ModelMixin] = AutoencoderKL,
    **more: object,
) -> Parts:
    """Read a folder whose prompts are written as a chat for a language model, its one text encoder."""
    tokenizer = folder.other_tokenizer("tokenizer")
    made: Any = pipeline
    read = made(
        scheduler=folder.flow(),
        vae=folder.vae(torch.float32, vae),
        text_encoder=None,
        tokenizer=tokenizer,
        transformer=folder.network("transformer", network),
        **more,
    )
    return read, conditioner(tokenizer, folder.encoders({"text_encoder": folder.named("text_encoder")}))


def _flux2(folder: Folder) -> Parts:
    return _chat(folder, Flux2Pipeline, Flux2Transformer2DModel, Reasoned, AutoencoderKLFlux2)


def _flux2_klein(folder: Folder) -> Parts:
    distilled = bool(folder.index().get("is_distilled", False))
    classes = Flux2KleinPipeline, Flux2Transformer2DModel, Layered, AutoencoderKLFlux2
    return _chat(folder, *classes, is_distilled=distilled)


def _zimage(folder: Folder) -> Parts:
    return _chat(folder, ZImagePipeline, ZImageTransformer2DModel, Chat)


def _qwen_image(folder: Folder) -> Parts:
    return _chat(folder, QwenImagePipeline, QwenImageTransformer2DModel, Described, AutoencoderKLQwenImage)


STREAMS: dict[str, Any] = {"sights": sights.STREAMS, "part": "transformer", "objective": Flow}
PATCHED = STREAMS | {"objective": partial(Flow, patch=1), "latents": PatchedLatents}  # a latent is a patch already
FORMS: Mapping[FormName, Form] = MappingProxyType(
    {
        "sd": Form(_sd, calls.unet, sights.UNET),
        "sdxl": Form(_sdxl, calls.unet, sights.UNET),
        "sd3": Form(_sd3, calls.sd3, **STREAMS, steps=28, guidance=7.0),
        "flux": Form(_flux, calls.flux, **STREAMS, latents=PackedLatents, steps=28, guidance=3.5),
        "flux2": Form(_flux2, calls.flux2, **PATCHED, steps=50, guidance=4.0),
        "flux2-klein": Form(_flux2_klein, calls.flux2, **PATCHED, steps=50, guidance=4.0),
        "qwen-image": Form(
            _qwen_image,
            calls.qwen_image,
            **STREAMS,
            latents=NormedLatents,
            steps=50,
            guidance=4.0,
            guided="true_cfg_scale",
        ),
        "zimage": Form(_zimage, calls.zimage, sights.JOINED, "transformer", Flow, steps=50, guidance=5.0),
    }
)

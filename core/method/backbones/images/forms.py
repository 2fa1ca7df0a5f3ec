"""The forms of folders that are read: of each its pipeline, what its network is told and how, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from core.method.backbones.images import calls, sights
from core.method.backbones.images.calls import Call
from core.method.backbones.images.conditioners.clip import Clip, ClipPair
from core.method.backbones.images.conditioners.conditioner import Conditioner
from core.method.backbones.images.folder import EncoderClasses, Folder
from core.method.backbones.images.latents import Latents
from core.method.backbones.images.objective import Ddpm, Objective
from core.method.backbones.images.sights import Sights

FormName = Literal["sd", "sdxl"]
Parts = tuple[DiffusionPipeline, Conditioner]


@dataclass(frozen=True)
class Form:
    """A form of folders: `read` gives the pipeline without its text encoders, which the conditioner reads in time.

    `part` is what is adapted; the objective is made of the scheduler's configuration.
    """

    read: Callable[[Folder], Parts]
    call: Call
    sights: Sights
    part: str = "unet"
    objective: Callable[[Mapping[str, Any]], Objective] = Ddpm
    latents: type[Latents] = Latents


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


FORMS: Mapping[FormName, Form] = MappingProxyType(
    {"sd": Form(_sd, calls.unet, sights.UNET), "sdxl": Form(_sdxl, calls.unet, sights.UNET)}
)

"""What a checkpoint in one file is, by the names and sides of its tensors, before anything loads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.backbones.families import Objective
from core.backbones.folders.distillation import distilled
from core.backbones.folders.other_models import other_file
from core.backbones.folders.pipelines import LATENT_CHANNELS, check_pipeline, predicted
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import Weight, check_plain, described, read_header, usual_floats
from core.backbones.single_files.other_files import ADAPTER, EDIT_CHANNELS, other_model, unfit
from core.errors import InvalidInput

UNET, VAE = "model.diffusion_model.", "first_stage_model."
FIRST = f"{UNET}input_blocks.0.0.weight"
# How the names in each text encoder begin; of Stable Diffusion 1.x in two ways, the second in files of NovelAI's kind.
ENCODERS = {
    "sd1": (("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.embeddings."),),
    "sd2": (("cond_stage_model.model.",),),
    "sdxl": (("conditioner.embedders.0.transformer.text_model.",), ("conditioner.embedders.1.model.",)),
}
LOADED = (UNET, VAE, "cond_stage_model.", "conditioner.")
NAMES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x", "sdxl": "Stable Diffusion XL"}
SIDES = {"sd1": 512, "sd2": 512, "sdxl": 1024}
V_SIDE = 768  # of Stable Diffusion 2.x where it predicts v
USUAL_WIDTH = 320  # channels of the first layer
V_KEY, ZERO_SNR_KEY = "v_pred", "ztsnr"  # marks of trainers, each an empty tensor
TEXTS = re.compile(r"(^|\.)layers\.\d+\.self_attn\.|^blk\.\d+\.")
TEXT_ENCODER = re.compile(
    r"(^|\.)text_model\.encoder\.|^encoder\.block\.\d+\.|^(bert\.|roberta\.)?encoder\.layer\.\d+\."
)
VAE_ALONE = ("encoder.conv_in.", "decoder.conv_in.", "encoder.down.", "decoder.up.", VAE)
# Marks of models that are built as SDXL is, and learned to predict something else (Karras et al. 2206.00364).
OTHER_AIMS = {"edm_mean": "Playground v2.5", "edm_vpred.sigma_max": "CosXL"}


@dataclass(frozen=True)
class Checkpoint:
    """A single file that can be converted: its family, what it predicts, its side in pixels, and what is to be said.

    `zero_snr` says that it was trained with a last step of pure noise; `dtype` is how most of its numbers are held.
    """

    family: str
    objective: Objective
    side: int
    zero_snr: bool
    dtype: str
    licence: str | None
    notes: tuple[str, ...]


def recognise(path: Path, objective: Objective | None = None, config: Path | None = None) -> Checkpoint:
    """Return what a file is; raise InvalidInput that says what else it is, or what it lacks.

    `objective` is what it predicts, where an operator says so. A file of another than the usual size needs `config`,
    the folder with the configuration of its parts, which can't be read from it.
    """
    if words := other_file(path):
        raise refused(words, this="file")
    header = read_header(path, "file")
    weights = described(header, path.name, "file")
    facts = {key: value for key, value in header.facts.items() if isinstance(value, str)}
    family = _family(weights)
    _check_whole(weights, family, config is None)
    configured = None if config is None else _configured(config, family)
    check_plain({name: each for name, each in weights.items() if name.startswith(LOADED)}, "file")
    objective, why = _objective(weights, facts, family, objective, configured)
    side = V_SIDE if family == "sd2" and objective == "v_prediction" else SIDES[family]
    return Checkpoint(
        family,
        objective,
        side,
        ZERO_SNR_KEY in weights,
        usual_floats(weight for name, weight in weights.items() if name.startswith(UNET)),
        facts.get("modelspec.license"),
        (*why, *_notes(path, weights, facts)),
    )


def _family(weights: Mapping[str, Weight]) -> str:
    if any(ADAPTER.search(name) for name in weights):
        raise refused("it is an adapter (LoRA), not a model; give the model that it was trained on", this="file")
    if not any(name.startswith(UNET) for name in weights):
        raise refused(_other(weights), this="file")
    if words := unfit(weights) or (None if FIRST in weights else other_model(weights)):
        raise refused(words, this="file")
    for mark, model in OTHER_AIMS.items():
        if mark in weights:
            words = (
                f"it is a {model} model ({mark}), which predicts neither epsilon nor v_prediction as they are trained"
            )
            raise refused(f"{words} here; take another child of Stable Diffusion XL", this="file")
    for family, encoders in ENCODERS.items():
        if any(name.startswith(encoder) for encoder in encoders for name in weights):
            return family
    raise refused(
        "it holds a U-Net without a text encoder (as files for ComfyUI's unet folder do); take the whole checkpoint",
        this="file",
    )


def _other(weights: Mapping[str, Weight]) -> str:
    if found := other_model(weights):
        return found
    if {"clip_l", "clip_g"} <= weights.keys():
        return "it is an embedding (textual inversion), not a model"
    if any(TEXT_ENCODER.search(name) for name in weights):
        return "it is a text encoder alone; take the whole checkpoint"
    if any(TEXTS.search(name) for name in weights):
        return "it holds the weights of a text model alone; give its folder, with config.json and tokenizer.json"
    if any(name.startswith(VAE_ALONE) for name in weights):
        return "it is a VAE alone; take the whole checkpoint"
    return "its tensors are of no model that is known here; only Stable Diffusion 1.x, 2.x and XL come as one file"


def _check_whole(weights: Mapping[str, Weight], family: str, usual_size: bool) -> None:
    first = weights.get(FIRST)
    if first is None or len(first.shape) != 4:
        raise refused(f"{FIRST} is missing or no convolution; fetch it again", this="file")
    width, channels = first.shape[:2]
    if channels != LATENT_CHANNELS:
        why = EDIT_CHANNELS.get(channels, "it is no model that draws from words alone")
        raise refused(f"its U-Net reads {channels} channels instead of {LATENT_CHANNELS}: {why}", this="file")
    for encoder in ENCODERS[family]:
        if not any(name.startswith(encoder) for name in weights):
            raise refused(
                f"one of its two text encoders is missing ({encoder[0]}*); take the whole checkpoint", this="file"
            )
    if not any(name.startswith(f"{VAE}encoder.") for name in weights):
        raise refused("it holds no VAE; take the checkpoint with its VAE", this="file")
    if usual_size and width != USUAL_WIDTH:
        raise refused(
            f"its U-Net begins with {width} channels, where {NAMES[family]} has {USUAL_WIDTH}; say with --config which "
            "diffusers folder has the configuration of its parts",
            this="file",
        )


def _objective(
    weights: Mapping[str, Weight],
    facts: Mapping[str, str],
    family: str,
    asked: Objective | None,
    configured: Objective | None,
) -> tuple[Objective, tuple[str, ...]]:
    """Return what the U-Net predicts, and the sentence that says so where the file does not."""
    read: Objective | None = None
    said = facts.get("modelspec.prediction_type", "")
    if V_KEY in weights or said.startswith("v"):
        read = "v_prediction"
    elif said.startswith("eps"):
        read = "epsilon"
    if asked is not None:
        if read not in {None, asked}:
            raise InvalidInput(
                f"The file says itself that it predicts {read}.", code="contradiction", param="objective"
            )
        return asked, ()
    if (known := read or configured) is not None:
        return known, ()
    if family != "sd2":
        return "epsilon", (
            "The file does not say what it predicts: epsilon is assumed, as nearly all of its family do.",
        )
    return "v_prediction", (
        f"The file does not say what it predicts: v_prediction at {V_SIDE} px is assumed, as Stable Diffusion 2.0 and "
        "2.1 do; a child of their base models, made for 512 px, is added with --objective epsilon.",
    )


def _configured(config: Path, family: str) -> Objective:
    """Return what a folder of configuration says is predicted; raise InvalidInput where it is another family's."""
    if not (config / "model_index.json").is_file():
        words = f"--config {config} is no diffusers folder: it has no model_index.json."
        raise InvalidInput(words, code="not_found", param="config")
    found = check_pipeline(config)
    if found.id != family:
        words = f"--config is the configuration of {found.name}, and the file holds {NAMES[family]}."
        raise InvalidInput(words, code="contradiction", param="config")
    return predicted(config)


def _notes(path: Path, weights: Mapping[str, Weight], facts: Mapping[str, str]) -> list[str]:
    few_steps = distilled(f"{path.stem} {facts.get('modelspec.title', '')}", {})
    notes = [few_steps.note] if few_steps else []
    if any(name.startswith("model_ema.") for name in weights):
        notes.append("It holds averaged weights too (model_ema), which are left out.")
    return notes

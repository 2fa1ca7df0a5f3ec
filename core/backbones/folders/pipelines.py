"""A diffusers folder: its pipeline, the parts that are loaded of it, what it predicts and the side of its pictures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.backbones.families import FAMILIES, ROWS, UNUSED_PARTS, Family, Objective
from core.backbones.folders.files import (
    all_files,
    check_configs,
    has_weights,
    json_object,
    opened,
    passed_over,
    weight_files,
)
from core.backbones.folders.other_pipelines import EDITED, instead, other_part, other_pipeline
from core.backbones.folders.refusal import refused
from core.backbones.folders.transformers import named_otherwise, other_transformer
from core.backbones.folders.weights import Weight, check_indexed, check_plain, weights_of

STEMS = {
    "unet": "unet/diffusion_pytorch_model",
    "vae": "vae/diffusion_pytorch_model",
    "text_encoder": "text_encoder/model",
    "text_encoder_2": "text_encoder_2/model",
}
OBJECTIVES: Mapping[object, Objective] = {"epsilon": "epsilon", "v_prediction": "v_prediction"}
OPEN_CLIP_WIDTH = 1024  # of the text encoder of Stable Diffusion 2.x; 1.x has one of 768
PIXELS_PER_LATENT = 2  # an AutoencoderKL halves each side once per block but the last
LATENT_CHANNELS = 4
HALF = "fp16"
DISTILLED = re.compile(r"turbo|lightning|\blcm\b|[-_]lcm|hyper(?=[-_ .]|\d|$|sd)|dmd2|distill|schnell", re.IGNORECASE)


@dataclass(frozen=True)
class PipelineFolder:
    """What is loaded of a diffusers folder, sorted, and its weights by part."""

    family: Family
    files: tuple[str, ...]
    weights: Mapping[str, Mapping[str, Weight]]
    resolution: int
    objective: Objective
    variant: str | None
    notes: tuple[str, ...]


def read_pipeline(folder: Path) -> PipelineFolder:
    """Read a folder with a model_index.json; raise InvalidInput that names the file and the reason."""
    everything = all_files(folder)
    family = check_pipeline(folder)
    variant = _variant(folder, family)
    files = ["model_index.json", *opened(folder, everything, family.parts)]
    _check_tokenizers(family, files)
    found = {part: _weight_files(folder, STEMS[part], variant) for part in STEMS if part in family.parts}
    weight_indexes = {name for name in files if ".index." in name}
    files = [name for name in files if name not in weight_indexes]
    files += [name for names in found.values() for name in names]
    check_configs(folder, files)
    weights = {part: weights_of(folder, names) for part, names in found.items()}
    for part, each in weights.items():
        check_indexed(folder, found[part], each)
        check_plain(each)
    _check_sizes(folder, weights)
    return PipelineFolder(
        family,
        tuple(sorted(set(files))),
        weights,
        _side(folder),
        predicted(folder),
        variant,
        _notes(folder, everything, files, variant),
    )


def check_pipeline(folder: Path) -> Family:
    """Return the family that a folder's configuration names; raise InvalidInput where it is none that is taken."""
    index = json_object(folder, "model_index.json")
    family = _family(folder, index)
    _check_parts(folder, index, family)
    return family


def _family(folder: Path, index: Mapping[str, object]) -> Family:
    root = index.get("_class_name")
    families = [each for each in ROWS if root in each.roots and each.kind == "images"]
    if not families:
        raise refused(other_pipeline(root))
    if len(families) == 1:
        return families[0]
    unet = json_object(folder, "unet/config.json")
    second = unet.get("use_linear_projection") or unet.get("cross_attention_dim") == OPEN_CLIP_WIDTH
    return FAMILIES["sd2" if second else "sd1"]


def _check_parts(folder: Path, index: Mapping[str, object], family: Family) -> None:
    for part, value in index.items():
        if isinstance(value, list) and value != [None, None]:
            known = family.parts.get(part) or UNUSED_PARTS.get(part, frozenset())
            if len(value) != 2 or value[1] not in known:
                raise refused(_other_part(part, value, known, str(index.get("_class_name"))))
    for part, classes in family.parts.items():
        if part not in index or not (folder / part).is_dir():
            raise refused(f"the folder {part} is missing")
        if part in {"unet", "vae"} and json_object(folder, f"{part}/config.json").get("_class_name") not in classes:
            raise refused(f"{part}/config.json names another class than {', '.join(classes)}")
    if "transformer" in family.parts:
        transformer, vae = (json_object(folder, f"{part}/config.json") for part in ("transformer", "vae"))
        if (words := other_transformer(transformer, vae)) is not None:
            raise refused(f"{words}; {instead(str(index.get('_class_name')))}")
        return
    channels = json_object(folder, "unet/config.json").get("in_channels", LATENT_CHANNELS)
    if channels != LATENT_CHANNELS:
        raise refused(f"its U-Net reads {channels} channels instead of {LATENT_CHANNELS}: {EDITED}")


def _check_tokenizers(family: Family, files: Collection[str]) -> None:
    """Raise InvalidInput where a tokenizer is there in neither format: a loader would make up an empty one."""
    for part in (each for each in family.parts if each.startswith("tokenizer")):
        if f"{part}/tokenizer.json" not in files and not {f"{part}/vocab.json", f"{part}/merges.txt"} <= set(files):
            raise refused(f"{part} has neither tokenizer.json, nor vocab.json and merges.txt; fetch it again")


def _other_part(part: str, value: list[object], known: Collection[str], root: str) -> str:
    named, its_class = f"model_index.json names {value!r} as its {part}", str(value[-1]) if value else ""
    if not known and (purpose := other_part(part)) is not None:
        return f"{named}: {purpose}; {instead(root)}"
    if part == "scheduler" and its_class.startswith(("LCM", "TCD")):
        return f"{named}, which draws in few steps: train on the model that it was distilled from"
    if part == "scheduler" and its_class.startswith("EDM"):
        return f"{named}, and what such models predict is not trained here"
    return f"{named}; only {', '.join(sorted(known))} is taken" if known else f"{named}, a part that is not known here"


def _variant(folder: Path, family: Family) -> str | None:
    """Return "fp16" where a network's weights are there under that name alone; then the others' are taken too."""
    parts = [STEMS[part] for part in STEMS if part in family.parts]
    missing = [stem for stem in parts if not has_weights(folder, stem)]
    return HALF if missing and all(has_weights(folder, stem, HALF) for stem in missing) else None


def _weight_files(folder: Path, stem: str, variant: str | None) -> list[str]:
    """Return the files of one network as the loader picks them: the variant where it is there, else the plain ones."""
    return weight_files(folder, stem, variant if variant and has_weights(folder, stem, variant) else None)


def predicted(folder: Path) -> Objective:
    """Return what a folder's scheduler says that its U-Net predicts; raise InvalidInput for what is not trained."""
    said = json_object(folder, "scheduler/scheduler_config.json").get("prediction_type", "epsilon")
    found = OBJECTIVES.get(said)
    if found is None:
        words = f"scheduler/scheduler_config.json names the prediction_type {said!r}"
        raise refused(f"{words}; only epsilon and v_prediction are trained here")
    return found


def _side(folder: Path) -> int:
    """Return the side of a picture in pixels."""
    stages = json_object(folder, "vae/config.json").get("block_out_channels")
    side = json_object(folder, "unet/config.json").get("sample_size")
    if not isinstance(stages, list) or type(side) is not int:
        raise refused("unet/config.json and vae/config.json do not say the size of an image")
    return int(side * PIXELS_PER_LATENT ** (len(stages) - 1))


def _check_sizes(folder: Path, weights: Mapping[str, Mapping[str, Weight]]) -> None:
    """Compare the first tensors of each network with what its configuration says, where it says it."""
    unet, vae = (json_object(folder, f"{part}/config.json") for part in ("unet", "vae"))
    _check_shape("unet", weights, "conv_in.weight", (_first(unet), unet.get("in_channels"), 3, 3))
    _check_shape("vae", weights, "encoder.conv_in.weight", (_first(vae), vae.get("in_channels"), 3, 3))
    for part in [each for each in weights if each.startswith("text_encoder")]:
        config = json_object(folder, f"{part}/config.json")
        sides = (config.get("vocab_size"), config.get("hidden_size"))
        name = "embeddings.token_embedding.weight"
        found = next((each for each in weights[part] if each.endswith(name)), f"text_model.{name}")
        _check_shape(part, weights, found, sides)


def _first(config: Mapping[str, object]) -> object:
    channels = config.get("block_out_channels")
    return channels[0] if isinstance(channels, list) and channels else None


def _check_shape(
    part: str, weights: Mapping[str, Mapping[str, Weight]], name: str, expected: tuple[object, ...]
) -> None:
    weight = weights[part].get(name)
    if weight is None:
        raise refused(f"the weights of {part} have no {name}; they are another network's")
    if any(isinstance(side, int) and side != there for side, there in zip(expected, weight.shape, strict=False)):
        sides = " x ".join(map(str, weight.shape))
        raise refused(f"{name} of {part} is {sides}, which is not what {part}/config.json says; fetch both again")


def _notes(folder: Path, everything: Sequence[str], files: Sequence[str], variant: str | None) -> tuple[str, ...]:
    notes = []
    if ignored := passed_over(everything, files):
        notes.append(ignored)
    if variant:
        notes.append(f"The weights are taken from the *.{variant}.safetensors files: the plain ones are not all there.")
    notes += distilled(_called(folder), json_object(folder, "unet/config.json"))
    if (folder / "transformer").is_dir():
        notes += named_otherwise(
            _called(folder), str(json_object(folder, "transformer/config.json").get("_name_or_path"))
        )
    return tuple(notes)


def _called(folder: Path) -> str:
    """Return what a folder is called; of a commit in a hub's cache, what its model is."""
    return folder.parents[1].name if folder.parent.name == "snapshots" else folder.name


def distilled(name: str, unet: Mapping[str, object]) -> list[str]:
    """Warn of a model that draws in few steps, by what it is called or by what its U-Net is told beside the time."""
    named = f"{name} {unet.get('_name_or_path', '')}"
    if unet.get("time_cond_proj_dim") is None and not DISTILLED.search(named):
        return []
    return [
        "It looks distilled to few steps (turbo, lightning, LCM); training undoes some of that, and an adapter is "
        "better trained on the model that it was distilled from."
    ]

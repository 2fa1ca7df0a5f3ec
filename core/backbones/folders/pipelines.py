"""A diffusers folder: its pipeline, the parts that are loaded of it, what it predicts and the side of its pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.backbones import chat_template
from core.backbones.families import FAMILIES, PROCESSOR, ROWS, T5_TOKENIZER, UNUSED_PARTS, Family, Form, Objective
from core.backbones.folders.distillation import Distilled, distilled
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
from core.backbones.folders.tensor_sides import check_sides
from core.backbones.folders.transformers import named_otherwise, other_transformer
from core.backbones.folders.weights import Weight, check_indexed, check_plain, weights_of
from core.backbones.sides import pixels_per_latent

STEMS = {  # what is adapted comes first
    "unet": "unet/diffusion_pytorch_model",
    "transformer": "transformer/diffusion_pytorch_model",
    "vae": "vae/diffusion_pytorch_model",
    "text_encoder": "text_encoder/model",
    "text_encoder_2": "text_encoder_2/model",
    "text_encoder_3": "text_encoder_3/model",
}
OBJECTIVES: Mapping[object, Objective] = {"epsilon": "epsilon", "v_prediction": "v_prediction"}
OPEN_CLIP_WIDTH = 1024  # of the text encoder of Stable Diffusion 2.x; 1.x has one of 768
USUAL_SIDE = 128  # of latents, where a transformer's configuration says none: what its pipeline draws by itself
LATENT_CHANNELS = 4
HALF = "fp16"
CHATS: frozenset[Form] = frozenset({"zimage", "flux2", "flux2-klein"})  # whose captions are written as a chat
TEMPLATE = "tokenizer/chat_template.json"  # which processors read, and tokenizers do not


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
    drawing: Mapping[str, int | float]  # in how many steps and with how much guidance, where it says so


def read_pipeline(folder: Path, called: str | None = None) -> PipelineFolder:
    """Read a folder with a model_index.json; raise InvalidInput that names the file and the reason.

    `called` is what its model is called, where that is not what the folder is.
    """
    everything = all_files(folder)
    family = check_pipeline(folder)
    parts = _parts(json_object(folder, "model_index.json"), family)
    variant = _variant(folder, parts)
    files = ["model_index.json", *opened(folder, everything, parts)]
    found = {part: _weight_files(folder, STEMS[part], variant) for part in STEMS if part in parts}
    weight_indexes = {name for name in files if ".index." in name}
    files = [name for name in files if name not in weight_indexes]
    files += [name for names in found.values() for name in names]
    check_configs(folder, files)
    weights = {part: weights_of(folder, names) for part, names in found.items()}
    for part, each in weights.items():
        check_indexed(folder, found[part], each)
        check_plain(each)
    check_sides(folder, weights)
    name = called or _called(folder)
    few_steps = _distilled(folder, family, name)
    warned = [*_given_pictures(folder, family, name), *([few_steps.note] if few_steps else [])]
    return PipelineFolder(
        family,
        tuple(sorted(set(files))),
        weights,
        _side(folder, family),
        "flow" if family.adapted == "transformer" else predicted(folder),
        variant,
        (*_notes(folder, family, everything, files, variant), *warned),
        few_steps.drawing if few_steps else {},
    )


def check_pipeline(folder: Path) -> Family:
    """Return the family that a folder names; raise InvalidInput where it is none that is taken, whatever its weights.

    What the hub has is looked at so before its weights are fetched.
    """
    index = json_object(folder, "model_index.json")
    family = _family(folder, index)
    _check_parts(folder, index, family)
    parts = _parts(index, family)
    _check_tokenizers(parts, opened(folder, all_files(folder), parts))
    _check_template(folder, family)
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


def _parts(index: Mapping[str, object], family: Family) -> Mapping[str, frozenset[str]]:
    """Return the parts that a folder has to have: all but those that it leaves out and may."""
    left_out = {part for part in family.optional if index.get(part) in (None, [None, None])}
    return {part: classes for part, classes in family.parts.items() if part not in left_out}


def _check_parts(folder: Path, index: Mapping[str, object], family: Family) -> None:
    for part, value in index.items():
        if isinstance(value, list) and value != [None, None]:
            known = family.parts.get(part) or UNUSED_PARTS.get(part, frozenset())
            if len(value) != 2 or value[1] not in known:
                raise refused(_other_part(part, value, known, str(index.get("_class_name"))))
    for part, classes in _parts(index, family).items():
        if part not in index or not (folder / part).is_dir():
            raise refused(_missing(folder, part))
        config = json_object(folder, f"{part}/config.json") if part in {"unet", "transformer", "vae"} else None
        if config is not None and config.get("_class_name") not in classes:
            raise refused(f"{part}/config.json names another class than {', '.join(classes)}")
    if "transformer" in family.parts:
        transformer, vae = (json_object(folder, f"{part}/config.json") for part in ("transformer", "vae"))
        if (words := other_transformer(transformer, vae)) is not None:
            raise refused(f"{words}; {instead(str(index.get('_class_name')))}")
        return
    held = json_object(folder, "vae/config.json").get("latent_channels", LATENT_CHANNELS)
    channels = json_object(folder, "unet/config.json").get("in_channels", LATENT_CHANNELS)
    if channels != held:
        raise refused(f"its U-Net reads {channels} channels instead of {held}: {EDITED}")


def _missing(folder: Path, part: str) -> str:
    """Say what became of a part; that of another backbone may have gone with it."""
    if not (folder / part).is_symlink():
        return f"the folder {part} is missing"
    return f"its {part} is {(folder / part).readlink()}, which is not there any more; put that back"


def _check_tokenizers(parts: Mapping[str, frozenset[str]], files: Collection[str]) -> None:
    """Raise InvalidInput where a tokenizer is there in neither format: a loader would make up an empty one."""
    for part in (each for each in parts if each.startswith("tokenizer")):
        pair = {f"{part}/vocab.json", f"{part}/merges.txt"}
        if f"{part}/tokenizer.json" in files:
            continue
        if parts[part] & T5_TOKENIZER:
            raise refused(f"{part} has no tokenizer.json; load it once with transformers and save it there")
        if not pair <= set(files):
            raise refused(f"{part} has neither tokenizer.json, nor vocab.json and merges.txt; fetch it again")


def _check_template(folder: Path, family: Family) -> None:
    """Raise InvalidInput where captions are written as a chat and nothing says how: jobs would fail by it."""
    if family.form not in CHATS:
        return
    if family.parts["tokenizer"] == PROCESSOR and (folder / TEMPLATE).is_file():
        if not isinstance(json_object(folder, TEMPLATE).get("chat_template"), str):
            raise refused(f"{TEMPLATE} holds no template; fetch it again")
    elif not chat_template.there(folder / "tokenizer"):
        words = "tokenizer has no chat template, in which captions are written; fetch tokenizer/chat_template.jinja too"
        raise refused(words)


def _other_part(part: str, value: list[object], known: Collection[str], root: str) -> str:
    named, its_class = f"model_index.json names {value!r} as its {part}", str(value[-1]) if value else ""
    if not known and (purpose := other_part(part)) is not None:
        return f"{named}: {purpose}; {instead(root)}"
    if part == "scheduler" and its_class.startswith(("LCM", "TCD")):
        return f"{named}, which draws in few steps: train on the model that it was distilled from"
    if part == "scheduler" and its_class.startswith("EDM"):
        return f"{named}, and what such models predict is not trained here"
    return f"{named}; only {', '.join(sorted(known))} is taken" if known else f"{named}, a part that is not known here"


def _variant(folder: Path, parts: Collection[str]) -> str | None:
    """Return "fp16" where a network's weights are there under that name alone; then the others' are taken too."""
    stems = [STEMS[part] for part in STEMS if part in parts]
    missing = [stem for stem in stems if not has_weights(folder, stem)]
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


def _side(folder: Path, family: Family) -> int:
    """Return the side of a picture in pixels."""
    pixels = pixels_per_latent(json_object(folder, "vae/config.json"))
    usual = USUAL_SIDE if family.adapted == "transformer" else None
    side = json_object(folder, f"{family.adapted}/config.json").get("sample_size", usual)
    if pixels is None or type(side) is not int:
        raise refused(f"{family.adapted}/config.json and vae/config.json do not say the size of an image")
    return side * pixels


def _notes(
    folder: Path, family: Family, everything: Sequence[str], files: Sequence[str], variant: str | None
) -> tuple[str, ...]:
    notes = list(family.notes)
    if ignored := passed_over(everything, files):
        notes.append(ignored)
    if variant:
        notes.append(f"The weights are taken from the *.{variant}.safetensors files: the plain ones are not all there.")
    return tuple(notes)


def _called(folder: Path) -> str:
    """Return what a folder is called; of a commit in a hub's cache, what its model is."""
    return folder.parents[1].name if folder.parent.name == "snapshots" else folder.name


def _distilled(folder: Path, family: Family, name: str) -> Distilled | None:
    index, config, scheduler = (
        json_object(folder, file)
        for file in ("model_index.json", f"{family.adapted}/config.json", "scheduler/scheduler_config.json")
    )
    return distilled(name, config, index, scheduler)


def _given_pictures(folder: Path, family: Family, name: str) -> list[str]:
    """Warn of a transformer that is called as those are that are given pictures."""
    if family.adapted == "unet":
        return []
    return named_otherwise(name, str(json_object(folder, "transformer/config.json").get("_name_or_path")))

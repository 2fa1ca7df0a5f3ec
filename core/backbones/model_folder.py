"""Inspect a model folder before anything loads it: safe weights only, known classes only, no code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.backbones.families import FAMILIES, ROWS, UNUSED_PARTS, Family, Objective, text_family
from core.errors import InvalidInput
from core.tensors.header import LENGTH_BYTES, header_length, parsed_header

LOADED = frozenset({".json", ".safetensors", ".txt", ".model", ".jinja"})  # what a loader may open, and so is hashed
CODE = frozenset({".py", ".pyc", ".so", ".dll", ".ipynb"})
PICKLES = frozenset(
    {".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".h5", ".keras", ".msgpack", ".onnx", ".npy", ".npz"}
)
MAX_JSON_BYTES = 64_000_000
MAX_HEADER_BYTES = 16_000_000
MAX_TENSORS = 50_000

TAGGER_CLASSES = frozenset(
    {"BlipForConditionalGeneration", "Blip2ForConditionalGeneration", "GitForCausalLM", "VisionEncoderDecoderModel"}
)
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
BACKBONE, TAGGER = "backbone", "tagger"
PIXELS_PER_LATENT = 2  # an AutoencoderKL halves each side once per block but the last


OBJECTIVES: Mapping[object, Objective] = {"epsilon": "epsilon", "v_prediction": "v_prediction"}
OPEN_CLIP_WIDTH = 1024  # of the text encoder of Stable Diffusion 2.x; 1.x has one of 768


@dataclass(frozen=True)
class Inspected:
    """The files of a folder that may be loaded, sorted, and what its model was made for.

    That is the side of its pictures in pixels for a diffusion model, the most tokens of a text for a language model.
    """

    family: Family
    files: tuple[str, ...]
    target_modules: tuple[str, ...]
    resolution: int | None = None
    context_tokens: int | None = None
    objective: Objective | None = None


def inspect_folder(folder: Path) -> Inspected:
    """Return what a folder holds; raise InvalidInput that names the file and the reason where it must not be loaded."""
    files = _safe_files(folder)
    if (folder / "model_index.json").is_file():
        return _check_diffusion(folder, files)
    if (folder / "config.json").is_file():
        return _check_language(folder, files)
    raise _refused("neither model_index.json (diffusers) nor config.json (transformers) is in it")


def inspect_tagger(folder: Path) -> tuple[str, ...]:
    """Return the files of a captioning model's folder; raise InvalidInput as `inspect_folder`."""
    files = _safe_files(folder)
    named = _config(folder, "config.json").get("architectures")
    if not isinstance(named, list) or not named or named[0] not in TAGGER_CLASSES:
        raise _refused(f"config.json names {named!r}; only {', '.join(sorted(TAGGER_CLASSES))} is taken", TAGGER)
    if not {"preprocessor_config.json", "processor_config.json"} & set(files):
        raise _refused("preprocessor_config.json is missing", TAGGER)
    if not (folder / "tokenizer.json").is_file():
        raise _refused("tokenizer.json is missing; save the tokenizer in the fast format", TAGGER)
    _check_weights(folder, "model")
    return files


def _safe_files(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise _refused(f"{folder} is not a folder")
    files = _files(folder)
    for name in files:
        if name.endswith(".safetensors"):
            check_safetensors(folder / name)
        elif name.endswith(".json"):
            _check_config(folder, name)
    return files


def check_safetensors(path: Path) -> None:
    """Check that a header is small and describes exactly the bytes that follow it, without reading them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            length = header_length(file.read(LENGTH_BYTES), size, MAX_HEADER_BYTES)
        except ValueError:
            words = "is not a complete safetensors file; fetch it again (is it a Git LFS pointer?)"
            raise _refused(f"{path.name} {words}") from None
        try:
            tensors = parsed_header(file.read(length)).tensors
        except (ValueError, RecursionError):
            raise _refused(f"{path.name} is not valid JSON; fetch it again") from None
    ends = [_end(entry) for entry in tensors.values()]
    if not 0 < len(ends) <= MAX_TENSORS or max(ends) != size - LENGTH_BYTES - length:
        raise _refused(f"{path.name} is cut short or has a tail; fetch it again")


def _end(entry: object) -> int:
    """Return where a tensor's bytes end, or -1 where its description makes no sense."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and len(offsets) == 2 and type(offsets[1]) is int:
        return offsets[1]
    return -1


def _files(folder: Path) -> tuple[str, ...]:
    """List the loadable files relative to `folder`; raise InvalidInput for code and pickles."""
    loaded = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            suffix = path.suffix.lower()
            relative = path.relative_to(folder).as_posix()
            if suffix in CODE:
                raise _refused(f"{relative} is code; remove it: a backbone is weights and configuration only")
            if suffix in PICKLES:
                raise _refused(f"{relative} may run code when loaded; remove it and keep the .safetensors files")
            if suffix in LOADED:
                # A link to a file is taken: model caches keep their files as links into a store beside the folder.
                if not path.is_file():
                    raise _refused(f"{relative} is not a regular file")
                loaded.append(relative)
    return tuple(sorted(loaded))


def _check_config(folder: Path, name: str) -> None:
    path = folder / name
    if path.stat().st_size > MAX_JSON_BYTES:
        raise _refused(f"{name} is larger than any configuration; remove it")
    if "auto_map" in _json_object(path.read_bytes(), name):
        raise _refused(f"{name} asks for code of its own (auto_map), which is never run; take a model without it")


def _check_diffusion(folder: Path, files: tuple[str, ...]) -> Inspected:
    """Check the parts of a pipeline's folder."""
    index = _config(folder, "model_index.json")
    family = _image_family(folder, index)
    for part, value in index.items():
        if isinstance(value, list) and value != [None, None]:
            known = family.parts.get(part) or UNUSED_PARTS.get(part, frozenset())
            if len(value) != 2 or value[1] not in known:
                raise _refused(f"model_index.json names {value!r} as its {part}; that is not taken")
    for part, classes in family.parts.items():
        if part not in index or not (folder / part).is_dir():
            raise _refused(f"the folder {part} is missing")
        if part in {"unet", "vae"} and _config(folder, f"{part}/config.json").get("_class_name") not in classes:
            raise _refused(f"{part}/config.json names another class than {', '.join(classes)}")
        if part in WEIGHTS:
            _check_weights(folder, f"{part}/{WEIGHTS[part]}")
    objective = OBJECTIVES.get(_config(folder, "scheduler/scheduler_config.json").get("prediction_type", "epsilon"))
    if objective is None:
        raise _refused(
            "scheduler/scheduler_config.json names a prediction_type that is neither epsilon nor v_prediction"
        )
    return Inspected(family, files, family.targets, _side(folder), objective=objective)


def _image_family(folder: Path, index: Mapping[str, object]) -> Family:
    root = index.get("_class_name")
    families = [each for each in ROWS if root in each.roots and each.kind == "images"]
    if not families:
        roots = dict.fromkeys(root for each in ROWS if each.kind == "images" for root in each.roots)
        raise _refused(f"model_index.json names {root!r}; only {', '.join(roots)} is taken")
    unet = _config(folder, "unet/config.json") if len(families) > 1 else {}
    if unet.get("use_linear_projection") or unet.get("cross_attention_dim") == OPEN_CLIP_WIDTH:
        return FAMILIES["sd2"]
    return families[0]


def _side(folder: Path) -> int:
    """Return the side of a picture in pixels."""
    stages = _config(folder, "vae/config.json").get("block_out_channels")
    side = _config(folder, "unet/config.json").get("sample_size")
    if not isinstance(stages, list) or type(side) is not int:
        raise _refused("unet/config.json and vae/config.json do not say the size of an image")
    return int(side * PIXELS_PER_LATENT ** (len(stages) - 1))


def _check_language(folder: Path, files: tuple[str, ...]) -> Inspected:
    """Check a transformers folder."""
    config = _config(folder, "config.json")
    named = config.get("architectures")
    root = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    family = text_family(root)
    if family is None:
        roots = sorted(root for each in ROWS if each.kind == "texts" for root in each.roots)
        raise _refused(f"config.json names {named!r}; only {', '.join(roots)} is taken")
    if config.get("quantization_config"):
        raise _refused("config.json describes quantised weights; convert them to bfloat16 first")
    if not (folder / "tokenizer.json").is_file():
        raise _refused("tokenizer.json is missing; save the tokenizer in the fast format")
    _check_weights(folder, "model")
    return Inspected(family, files, family.targets_of(root), context_tokens=_places(config))


def _places(config: Mapping[str, object]) -> int | None:
    """Return how many tokens the model has places for, None where it does not say."""
    inner = config.get("text_config")
    places = (inner if isinstance(inner, dict) else config).get("max_position_embeddings")
    return places if type(places) is int and places > 0 else None


def _check_weights(folder: Path, stem: str) -> None:
    """Ask for one file, or for an index whose parts are all there."""
    if (folder / f"{stem}.safetensors").is_file():
        return
    index = folder / f"{stem}.safetensors.index.json"
    if not index.is_file():
        raise _refused(f"{stem}.safetensors is missing")
    parts = _config(folder, f"{stem}.safetensors.index.json").get("weight_map")
    for part in sorted(set(parts.values())) if isinstance(parts, dict) else ["the list of its parts"]:
        if "/" in str(part) or not (index.parent / str(part)).is_file():
            raise _refused(f"{stem}.safetensors.index.json names {part}, which is missing")


def _config(folder: Path, name: str) -> dict[str, object]:
    if not (folder / name).is_file():
        raise _refused(f"{name} is missing")
    return _json_object((folder / name).read_bytes(), name)


def _json_object(content: bytes, name: str) -> dict[str, object]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise _refused(f"{name} is not valid JSON; fetch it again") from None
    if not isinstance(value, dict):
        return {}
    return value


def _refused(what: str, use: str = BACKBONE) -> InvalidInput:
    return InvalidInput(f"This folder can't become a {use}: {what}.", code=f"invalid_{use}", param="folder")

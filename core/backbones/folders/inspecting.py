"""Inspect a model folder before anything loads it: safe weights only, known classes only, no code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.backbones.families import Family, Objective
from core.backbones.folders.files import all_files
from core.backbones.folders.language import check_language, read_language
from core.backbones.folders.other_models import other_folder
from core.backbones.folders.pipelines import check_pipeline, read_pipeline
from core.backbones.folders.refusal import refused
from core.backbones.folders.weights import Weight, parameters
from core.backbones.target_paths import LANGUAGE_PART, adapted, module_paths


@dataclass(frozen=True)
class Inspected:
    """What a folder holds: the files that are loaded of it, sorted, and what its model was made for.

    `resolution` is the side of its pictures in pixels, `context_tokens` the most tokens of a text; `networks` are the
    weights of each part, of which the first is adapted; `adapted` are the paths that each of the targets means.
    """

    family: Family
    files: tuple[str, ...]
    networks: Mapping[str, Mapping[str, Weight]]
    adapted: Mapping[str, Sequence[str]]
    notes: tuple[str, ...]
    resolution: int | None = None
    context_tokens: int | None = None
    objective: Objective | None = None
    variant: str | None = None
    drawing: Mapping[str, int | float] = field(default_factory=dict)  # how it draws, where it is made for few steps

    @property
    def parameters(self) -> int:
        """How many numbers the network has that is adapted."""
        return parameters(next(iter(self.networks.values())))

    @property
    def adapted_modules(self) -> int:
        """How many modules of it are adapted."""
        return len({path for paths in self.adapted.values() for path in paths})


def inspect_folder(folder: Path, targets: Sequence[str] | None = None, called: str | None = None) -> Inspected:
    """Return what a folder holds; raise InvalidInput that names the file and the reason where it must not be loaded.

    `targets` are the modules to adapt, where they are not the family's own; `called` is what its model is called, where
    that is not what the folder is.
    """
    files = all_files(folder)
    if "model_index.json" in files:
        return _pipeline(folder, targets, called)
    if "config.json" in files:
        return _language(folder, targets)
    raise refused(other_folder(files))


def check_class(folder: Path) -> None:
    """Raise InvalidInput where a folder's configuration, there before its weights, names what is not taken."""
    files = all_files(folder)
    if "model_index.json" in files:
        check_pipeline(folder)
    elif "config.json" in files:
        check_language(folder, files)
    else:
        raise refused(other_folder(files))


def _pipeline(folder: Path, targets: Sequence[str] | None, called: str | None) -> Inspected:
    found = read_pipeline(folder, called)
    return Inspected(
        found.family,
        found.files,
        found.weights,
        adapted(module_paths(found.weights[found.family.adapted]), targets or found.family.targets),
        found.notes,
        resolution=found.resolution,
        objective=found.objective,
        variant=found.variant,
        drawing=found.drawing,
    )


def _language(folder: Path, targets: Sequence[str] | None) -> Inspected:
    found = read_language(folder)
    seeing = found.root in found.family.towers
    shared = _shared(found.config, found.weights)
    paths = [path for path in module_paths(found.weights) if path not in shared and not (seeing and _sees(path))]
    return Inspected(
        found.family,
        found.files,
        {"model": found.weights},
        adapted(paths, targets or found.family.targets_of(found.root)),
        found.notes,
        context_tokens=found.context_tokens,
    )


def _sees(path: str) -> bool:
    """Tell whether a module of a model that reads pictures too lies outside its language part: texts never reach it."""
    return LANGUAGE_PART not in path.split(".") and path != "lm_head"


def _shared(text: Mapping[str, object], weights: Mapping[str, Weight]) -> set[str]:
    """Return keys and values that a file holds and no module has: Gemma 4's last layers take those of earlier ones."""
    layers, shared = text.get("num_hidden_layers"), text.get("num_kv_shared_layers")
    if not isinstance(layers, int) or not isinstance(shared, int):
        return set()
    ends = {
        f".layers.{layer}.self_attn.{part}" for layer in range(layers - shared, layers) for part in ("k_proj", "v_proj")
    }
    return {path for path in module_paths(weights) if any(path.endswith(end) for end in ends)}

"""Which modules of a model in files its targets mean, by the names and sides of tensors alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from core.backbones.folders.weights import Weight
from core.errors import InvalidInput
from core.tensors.paths import matches

NO_LAYER = re.compile(r"\.experts\.|\.mlp\.(gate|router)\.|embed\w*\.weight$|shared\.weight$")
MATRICES = (2, 4)  # sides of the weight of a Linear, and of a Conv2d
LANGUAGE_PART = "language_model"  # what transformers calls it in a model that reads pictures too
OLD_TOWER = re.compile(r"^language_model\.model\.")  # as files name it; transformers' module is model.language_model


def adapted(paths: Iterable[str], patterns: Sequence[str]) -> dict[str, list[str]]:
    """Return the paths that each pattern means; raise InvalidInput for a pattern that means none."""
    everything = list(paths)
    found = {pattern: [path for path in everything if matches(pattern, path)] for pattern in patterns}
    for pattern, meant in found.items():
        if not meant:
            raise InvalidInput(
                f"No layer of the model that could be adapted is meant by the target {pattern}; a target is the end of "
                "a layer's path, or with * a pattern of the whole (* one part, ** any number).",
                code="unsupported_target_module",
                param="target_modules",
            )
    return found


def module_paths(weights: Mapping[str, Weight]) -> list[str]:
    """Return the paths of linear layers and convolutions of any kernel by the names and sides of their weights.

    Embeddings are none; nor are a mixture's experts and what chooses among them, which transformers holds joined, as no
    modules of their own.
    """
    return [
        module_path(name)
        for name, weight in weights.items()
        if name.endswith(".weight") and not NO_LAYER.search(name) and len(weight.shape) in MATRICES
    ]


def module_path(name: str) -> str:
    """Return the path of the module whose weight a file calls so."""
    return OLD_TOWER.sub("model.language_model.", name.removesuffix(".weight"))

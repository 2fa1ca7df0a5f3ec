"""Which modules of a network are adapted."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from core.errors import InvalidInput
from core.method.lora.layer import LoraLayer


def wrap(model: nn.Module, target_modules: Sequence[str]) -> dict[str, LoraLayer]:
    """Replace the target modules by LoraLayers; returns them by path."""
    layers: dict[str, LoraLayer] = {}
    for path, module in list(model.named_modules()):
        if not any(path == target or path.endswith(f".{target}") for target in target_modules):
            continue
        if not isinstance(module, nn.Linear) and not (
            isinstance(module, nn.Conv2d) and module.kernel_size == module.stride == (1, 1)
        ):
            raise InvalidInput(
                f"The target module {path} is a {type(module).__name__}; only Linear and plain 1x1 Conv2d are taken.",
                code="unsupported_target_module",
                param="target_modules",
            )
        parent, _, name = path.rpartition(".")
        layers[path] = LoraLayer(module)
        setattr(model.get_submodule(parent), name, layers[path])
    if not layers:
        raise InvalidInput(
            f"No module of the backbone ends in any of {', '.join(target_modules)}.",
            code="unsupported_target_module",
            param="target_modules",
        )
    return layers

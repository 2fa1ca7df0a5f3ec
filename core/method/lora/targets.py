"""Which modules of a network are adapted: patterns over their paths, and what no pattern may choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from core.errors import InvalidInput
from core.method.lora.layer import LoraLayer
from core.tensors.paths import matches

# Files in kohya's format are read without a word and without this part of an SDXL network.
LOST = "add_embedding"
# Names by which peft takes fused experts too, where a network has any.
OF_EXPERTS = frozenset({"gate", "gate_proj", "up_proj", "down_proj", "w1", "w2", "w3"})


class NothingChosen(InvalidInput):
    """A pattern chooses no module of a network; `pattern` is which."""

    def __init__(self, message: str, pattern: str) -> None:
        super().__init__(message, code="unsupported_target_module", param="target_modules")
        self.pattern = pattern


def wrap(model: nn.Module, target_modules: Sequence[str]) -> dict[str, LoraLayer]:
    """Replace the target modules by LoraLayers; returns them by path, in the network's order.

    Raises InvalidInput "unsupported_target_module" for a pattern that chooses nothing, and for a module that takes no
    adapter or whose adapter others would lose. A pattern that ends in `*` passes over modules that take none.
    """
    modules = dict(model.named_modules())
    chosen: set[str] = set()
    for pattern in target_modules:
        found = [path for path in modules if path and matches(pattern, path)]
        if pattern.endswith("*"):
            found = [path for path in found if _takes(modules[path])]
        if not found:
            why = _why_none(model, pattern)
            raise NothingChosen(f"No module of the backbone is chosen by {pattern}{why}.", pattern)
        chosen.update(found)
    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    layers: dict[str, LoraLayer] = {}
    for path in (path for path in modules if path in chosen):
        base = modules[path]
        _check(path, base, uses, model)
        assert isinstance(base, nn.Linear | nn.Conv2d)
        layers[path] = LoraLayer(base, path)
        set_module(model, path, layers[path])
    return layers


def set_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module into a network in the place of another."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _takes(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):  # peft knows no dilation
        plain = module.groups == 1 and module.dilation == (1, 1) and module.padding_mode == "zeros"
        return plain and not isinstance(module.padding, str)
    return isinstance(module, nn.Linear)


def _check(path: str, module: nn.Module, uses: Counter[int], model: nn.Module) -> None:
    if any(uses[id(weight)] > 1 for weight in module.parameters(recurse=False)):
        why = "shares its weights with another module, so that the adapter could not be merged into them"
        raise _refusal(f"The target module {path} {why}; leave it out.")
    if not _takes(module):
        what = "only Linear and Conv2d, without groups or dilation and padded with zeros, take an adapter"
        raise _refusal(f"The target module {path} is a {type(module).__name__}; {what}.")
    if path.split(".")[0] == LOST:
        why = "is not read from files in kohya's format, so that most programs would lose a part of the adapter"
        raise _refusal(f"The target module {path} {why}; leave it out.")
    if path.rpartition(".")[2] in OF_EXPERTS and _experts(model):
        why = "has a name by which peft would change the network's experts too"
        raise _refusal(f"The target module {path} {why}; leave it out.")


def _why_none(model: nn.Module, pattern: str) -> str:
    """Say what a pattern may have meant: weights of experts, which are no modules."""
    experts = _experts(model)
    name = pattern.rpartition(".")[2]
    if experts and (name in OF_EXPERTS or any(matches(pattern, path) for path in experts)):
        return f"; its experts' weights, such as {experts[0]}, are held as one block and take no adapter"
    return ""


def _experts(model: nn.Module) -> list[str]:
    """Return the paths of weights that hold one matrix for each expert."""
    held = [path for path, weight in model.named_parameters() if weight.dim() == 3 and "experts" in path.split(".")]
    return held


def _refusal(message: str) -> InvalidInput:
    return InvalidInput(message, code="unsupported_target_module", param="target_modules")

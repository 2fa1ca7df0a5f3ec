"""How a frozen network is held: the type of its floats, matrices of 8 or 4 bits, passes computed twice."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import torch
from diffusers import ModelMixin
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from core.errors import InvalidInput
from core.method.backbones.quantised import QuantisedLinear
from core.method.lora.targets import set_module
from core.parameters.memory import Precision

Network = TypeVar("Network", bound=nn.Module)


def float_type(precision: Precision | None, device: torch.device | str) -> torch.dtype:
    """Return the floats that a network computes in; None and quantised: bfloat16 on CUDA, float32 elsewhere."""
    if precision in ("float32", "bfloat16"):
        return torch.float32 if precision == "float32" else torch.bfloat16
    return torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32


def prepare_network(
    network: Network, precision: Precision | None, *, checkpointing: bool = False, device: torch.device | str = "cpu"
) -> Network:
    """Hold a network's matrices in `precision`, and let its blocks be computed again in backward passes.

    Each matrix is made on `device`, so a network that is quantised on its way from the CPU never is whole on a GPU;
    the caller moves the rest. Raises InvalidInput where a network of its class can't be computed twice.
    """
    if precision in ("int8", "nf4"):
        for path, linear in _quantisable(network).items():
            set_module(network, path, QuantisedLinear(linear.to(device), precision))
    if checkpointing:
        _recompute(network)
    return network


def _quantisable(network: nn.Module) -> dict[str, nn.Linear]:
    """Return the Linears to quantise: all but the output head and those that share their weights."""
    uses = Counter(id(weight) for _, weight in network.named_parameters(remove_duplicate=False))
    head = network.get_output_embeddings() if isinstance(network, PreTrainedModel) else None
    return {
        path: module
        for path, module in network.named_modules()
        if type(module) is nn.Linear and module is not head and uses[id(module.weight)] == 1
    }


def _recompute(network: nn.Module) -> None:
    """Let blocks keep their inputs only, and compute the rest again in the backward pass.

    transformers does so in layers that are in training mode, and without a cache. They are in it while gradients are
    recorded, they alone and not what is in them: dropout stays off, and answers are written with a cache as always.
    """
    if isinstance(network, ModelMixin) and network._supports_gradient_checkpointing:
        network.enable_gradient_checkpointing()
        return
    if not isinstance(network, PreTrainedModel) or not network.supports_gradient_checkpointing:
        raise InvalidInput(
            f"A {type(network).__name__} can't compute its forward pass again; set bat.checkpointing to false.",
            code="unsupported_setting",
            param="bat.checkpointing",
        )
    network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    for layer in network.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            _keep_all(layer)
            layer.register_forward_pre_hook(_train_for_gradients)


def _keep_all(layer: nn.Module) -> None:
    """Turn off what a layer itself would drop in training mode."""
    for name, value in vars(layer).items():
        if "dropout" in name and isinstance(value, float):
            setattr(layer, name, 0.0)


def _train_for_gradients(layer: nn.Module, inputs: object) -> None:
    layer.training = torch.is_grad_enabled()

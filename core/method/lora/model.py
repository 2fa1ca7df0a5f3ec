"""A frozen network with places for LoRA adapters: attach, use, differentiate, save in peft's format."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from core.errors import InvalidInput
from core.method.lora.adapter import PREFIX, Adapter
from core.method.lora.casting import cast
from core.method.lora.layer import LoraLayer
from core.method.lora.peft_names import peft_targets
from core.method.lora.targets import set_module, wrap
from core.method.transfers import to_device

ByPath = dict[str, Tensor]  # A or B by module path


class LoraModel:
    """A network whose target modules have become LoraLayers, frozen and in evaluation mode.

    `left_out` are the paths of target modules that nothing flows through, which have become plain again; None as long
    as nobody has looked.
    """

    def __init__(self, model: nn.Module, target_modules: Sequence[str]) -> None:
        self.model = model.requires_grad_(False).eval()
        self._paths = [path for path, _ in model.named_modules()]
        self.layers = wrap(model, target_modules)
        self.target_modules = tuple(target_modules)
        self.left_out: tuple[str, ...] | None = None

    def new(self, rank: int, alpha: float, *, runs: int = 1, seed: int = 0) -> Adapter:
        """Return a fresh trainable adapter: A as peft draws it, the same for every run, and B zero.

        Each matrix lies where its module does: of a model that also sees, that part may be elsewhere.
        """
        generator = torch.Generator().manual_seed(seed)
        down, up = {}, {}
        for path, layer in self.layers.items():
            outputs, inputs = layer.outputs, math.prod(layer.inputs)
            bound = inputs**-0.5  # kaiming uniform with a = sqrt(5)
            drawn = (torch.rand(1, rank, inputs, generator=generator) * 2 - 1) * bound
            down[path] = to_device(drawn.repeat(runs, 1, 1), layer.device).requires_grad_()
            up[path] = torch.zeros(runs, outputs, rank, device=layer.device, requires_grad=True)
        return Adapter(rank, alpha, down, up)

    @contextmanager
    def use(self, adapter: Adapter | None, *, samples: int | None = None) -> Iterator[None]:
        """Let the network compute with the adapter (None: without one) until the block ends.

        A module that the adapter does not have stays plain. With `samples` = N every module of a stack refuses inputs
        whose first side is another (InvalidInput): joined rows of unequal samples would be dealt to the wrong runs.
        """
        before = {path: (layer.down, layer.up, layer.scale, layer.samples) for path, layer in self.layers.items()}
        down, up, scale = (adapter.down, adapter.up, adapter.scale) if adapter else ({}, {}, 1.0)
        if unknown := sorted(down.keys() - self.layers.keys()):
            raise KeyError(f"the network has no place for the adapter's {unknown[0]}")
        down, up = self._in_own_types(down, up)
        try:
            for path, layer in self.layers.items():
                layer.down, layer.up, layer.scale, layer.samples = down.get(path), up.get(path), scale, samples
            yield
        finally:
            for path, layer in self.layers.items():
                layer.down, layer.up, layer.scale, layer.samples = before[path]

    @contextmanager
    def tangent(self, direction: Adapter, epsilon: Tensor) -> Iterator[None]:
        """Move sample i by epsilon_i along the direction, to first order: d loss_i / d epsilon_i = <grad L_i, u>."""
        down, up = self._in_own_types(direction.down, direction.up)
        try:
            for path, layer in self.layers.items():
                layer.tangent = (down[path], up[path], epsilon)
            yield
        finally:
            for layer in self.layers.values():
                layer.tangent = None

    def _in_own_types(self, down: ByPath, up: ByPath) -> tuple[ByPath, ByPath]:
        """Return the matrices as the modules compute with them: in bf16 where these do."""
        short = [path for path in down if self.layers[path].dtype == torch.bfloat16]
        made = iter(cast([matrix for path in short for matrix in (down[path], up[path])], torch.bfloat16))
        pairs = {path: (next(made), next(made)) for path in short}
        return (
            down | {path: pair[0] for path, pair in pairs.items()},
            up | {path: pair[1] for path, pair in pairs.items()},
        )

    def leave_out_dead(self, loss: Callable[[], Tensor], samples: int) -> tuple[str, ...]:
        """Make those target modules plain again through which no gradient of `loss` flows; returns their paths.

        What an adapter changed there would change nothing, and asking for its gradient is an error. Whether anything
        flows is read from the graph, not from numbers, so it is the same on every device and in every process. The
        adapter is a stack of as many runs as the loss has `samples`, so `use` finds modules that join their rows.
        """
        adapter = self.new(1, 1.0, runs=samples)
        with torch.enable_grad(), self.use(adapter, samples=samples):
            total, matrices = loss(), list(adapter.up.values())
            none: tuple[Tensor | None, ...] = (None,) * len(matrices)
            found = torch.autograd.grad(total, matrices, allow_unused=True) if total.requires_grad else none
        dead = tuple(path for path, gradient in zip(adapter.up, found, strict=True) if gradient is None)
        if len(dead) == len(self.layers):
            raise InvalidInput(
                "Nothing that is learned flows through any of the target modules.",
                code="unsupported_target_module",
                param="target_modules",
            )
        for path in dead:
            set_module(self.model, path, self.layers.pop(path).base)
        self.left_out = (self.left_out or ()) + dead
        return dead

    def peft_targets(self) -> list[str] | str:
        """Return the `target_modules` by which peft finds exactly the adapted modules."""
        return peft_targets(self.layers.keys(), self._paths, self.target_modules)

    def weights(self) -> Mapping[str, Tensor]:
        """The frozen matrix W (out, in) of every target module, made when it is looked at."""
        return Matrices(self.layers)

    def save(
        self,
        adapter: Adapter,
        folder: Path,
        backbone: str,
        header: Mapping[str, str] | None = None,
        *,
        task: str | None = None,
    ) -> None:
        """Write one run as a peft folder: adapter_config.json, and adapter_model.safetensors with `header`."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = self.tensors(adapter, PREFIX)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt", **(header or {})})
        (folder / "adapter_model.safetensors").chmod(0o600)
        config = peft_config(adapter, self.peft_targets(), backbone, task)
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    def tensors(self, adapter: Adapter, prefix: str) -> dict[str, Tensor]:
        """One run under peft's names and in peft's shapes."""
        tensors = {}
        for path, layer in self.layers.items():
            tail = (1, 1) if layer.convolution else ()
            for name, matrix, shape in (
                ("lora_A", adapter.down[path], layer.inputs),
                ("lora_B", adapter.up[path], (adapter.rank, *tail)),
            ):
                plain = matrix[0].detach().cpu().float().contiguous().clone()
                tensors[f"{prefix}{path}.{name}.weight"] = plain.reshape(len(plain), *shape)
        return tensors


class Matrices(Mapping[str, Tensor]):
    """The matrices of layers by path; quantised ones are never all whole at once."""

    def __init__(self, layers: Mapping[str, LoraLayer]) -> None:
        self._layers = layers

    def __getitem__(self, path: str) -> Tensor:
        return self._layers[path].matrix()

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


def peft_config(
    adapter: Adapter, target_modules: Sequence[str] | str, backbone: str, task: str | None = None
) -> Mapping[str, object]:
    """The adapter_config.json of an adapter, with sorted lists so that equal adapters give equal files.

    `task` is peft's word for what is loaded around the network: none for a UNet, which peft takes as it is.
    """
    return {
        "base_model_name_or_path": backbone,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": adapter.rank,
        "target_modules": target_modules if isinstance(target_modules, str) else sorted(target_modules),
        "task_type": task,
        "use_dora": False,
        "use_rslora": False,
    }

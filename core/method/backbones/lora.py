"""LoRA adapters over a frozen network: attach, use, differentiate, save and load in peft's format.

One mechanism serves folds, per-sample gradients and scores: an adapter is a stack of R runs, and a batch is read as R
equal parts, one for each run. R surrogates then train in one pass over the frozen backbone; R copies of one adapter,
each seeing one example, give per-sample gradients; and a tangent scaled by a scalar for every sample gives scores.

Shapes: R runs, r rank, N = R b samples, run-major.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from core.errors import InvalidInput

PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """R stacked LoRA adapters; `down` A (R, r, in) and `up` B (R, out, r) by module path, in float32."""

    rank: int
    alpha: float
    down: dict[str, Tensor]
    up: dict[str, Tensor]

    @property
    def runs(self) -> int:
        """R, the number of stacked adapters."""
        return len(next(iter(self.down.values())))

    @property
    def scale(self) -> float:
        """The factor of the branch: alpha / r."""
        return self.alpha / self.rank

    def parameters(self) -> list[Tensor]:
        """All matrices, A and B of each module in turn."""
        return [matrix for path in self.down for matrix in (self.down[path], self.up[path])]

    def clone(self) -> Adapter:
        """Return a deep copy on the CPU that no further training can reach."""
        return self._map(lambda matrix: matrix.detach().to("cpu", copy=True))

    def to(self, device: torch.device | str, *, trainable: bool = False) -> Adapter:
        """Return a copy on the device, as leaves that record gradients where `trainable`."""
        return self._map(lambda matrix: matrix.detach().clone().to(device).requires_grad_(trainable))

    def select(self, run: int) -> Adapter:
        """Return one run as an adapter of its own (R = 1)."""
        return self._map(lambda matrix: matrix[run : run + 1])

    def expand(self, copies: int) -> Adapter:
        """Return the one run R = `copies` times, as fresh leaves: their gradients are per-sample gradients."""
        return self._map(lambda matrix: matrix.detach().repeat(copies, 1, 1).requires_grad_())

    def tensors(self) -> dict[str, Tensor]:
        """Return every matrix by a name of its own, detached; `from_stack` reads them."""
        named = {f"down/{path}": matrix.detach() for path, matrix in self.down.items()}
        return named | {f"up/{path}": matrix.detach() for path, matrix in self.up.items()}

    def finite(self) -> bool:
        """Whether every number is finite."""
        return all(bool(matrix.isfinite().all()) for matrix in self.parameters())

    def sha256(self) -> str:
        """Hash of all names and numbers; equal for equal adapters wherever they live."""
        digest = hashlib.sha256(f"{self.rank} {self.alpha}".encode())
        for path in sorted(self.down):
            for matrix in (self.down[path], self.up[path]):
                digest.update(path.encode())
                digest.update(matrix.detach().cpu().contiguous().float().numpy().tobytes())
        return digest.hexdigest()

    def _map(self, function: Callable[[Tensor], Tensor]) -> Adapter:
        return Adapter(
            self.rank,
            self.alpha,
            {path: function(matrix) for path, matrix in self.down.items()},
            {path: function(matrix) for path, matrix in self.up.items()},
        )


class LoraLayer(nn.Module):
    """A frozen Linear or 1x1 Conv2d with a LoRA branch that is there only while an adapter is in use."""

    def __init__(self, base: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.base = base
        self.convolution = isinstance(base, nn.Conv2d)
        self.scale = 1.0
        self.down: Tensor | None = None
        self.up: Tensor | None = None
        self.tangent: tuple[Tensor, Tensor, Tensor] | None = None  # U_down, U_up, epsilon (N,)

    @property
    def weight(self) -> Tensor:
        """The frozen weight, which library code asks for its dtype."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias."""
        return self.base.bias

    def matrix(self) -> Tensor:
        """The frozen weight as a matrix W (out, in)."""
        return self.base.weight.detach().flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + s B A x, and with a tangent also epsilon_i s (U_B A x + B U_A x) for sample i."""
        outputs = self.base(inputs)
        if self.down is None or self.up is None:
            return outputs
        rows = (inputs.flatten(2).transpose(1, 2) if self.convolution else inputs).to(self.down.dtype)
        rows = rows.reshape(self.down.shape[0], -1, rows.shape[-1])
        inner = torch.bmm(rows, self.down.transpose(1, 2))
        branch = torch.bmm(inner, self.up.transpose(1, 2))
        if self.tangent is not None:
            branch = branch + self._tangent_branch(rows, inner, self.tangent)
        branch = (self.scale * branch).to(outputs.dtype)
        if self.convolution:
            samples, channels, height, width = outputs.shape
            return outputs + branch.reshape(samples, height * width, channels).transpose(1, 2).reshape(outputs.shape)
        return outputs + branch.reshape(outputs.shape)

    def _tangent_branch(self, rows: Tensor, inner: Tensor, tangent: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        assert self.up is not None
        u_down, u_up, epsilon = tangent
        moved = torch.bmm(inner, u_up.transpose(1, 2)) + torch.bmm(
            torch.bmm(rows, u_down.transpose(1, 2)), self.up.transpose(1, 2)
        )
        by_sample = moved.reshape(len(epsilon), -1, moved.shape[-1]) * epsilon.view(-1, 1, 1)
        return by_sample.reshape(moved.shape)


class LoraModel:
    """A network whose target modules have become LoraLayers, frozen and in evaluation mode."""

    def __init__(self, model: nn.Module, target_modules: Sequence[str]) -> None:
        self.model = model.requires_grad_(False).eval()
        self.layers = _wrap(model, target_modules)
        self.target_modules = tuple(target_modules)

    def new(self, rank: int, alpha: float, *, runs: int = 1, seed: int = 0) -> Adapter:
        """Return a fresh trainable adapter: A as peft draws it, the same for every run, and B zero."""
        generator = torch.Generator().manual_seed(seed)
        device = self._device()
        down, up = {}, {}
        for path, layer in self.layers.items():
            outputs, inputs = layer.matrix().shape
            bound = inputs**-0.5  # kaiming uniform with a = sqrt(5)
            drawn = (torch.rand(1, rank, inputs, generator=generator) * 2 - 1) * bound
            down[path] = drawn.repeat(runs, 1, 1).to(device).requires_grad_()
            up[path] = torch.zeros(runs, outputs, rank, device=device, requires_grad=True)
        return Adapter(rank, alpha, down, up)

    @contextmanager
    def use(self, adapter: Adapter | None) -> Iterator[None]:
        """Let the network compute with the adapter (None: without one) until the block ends."""
        before = {path: (layer.down, layer.up, layer.scale) for path, layer in self.layers.items()}
        try:
            for path, layer in self.layers.items():
                layer.down = adapter.down[path] if adapter else None
                layer.up = adapter.up[path] if adapter else None
                layer.scale = adapter.scale if adapter else 1.0
            yield
        finally:
            for path, layer in self.layers.items():
                layer.down, layer.up, layer.scale = before[path]

    @contextmanager
    def tangent(self, direction: Adapter, epsilon: Tensor) -> Iterator[None]:
        """Move sample i by epsilon_i along the direction, to first order: d loss_i / d epsilon_i = <grad L_i, u>."""
        try:
            for path, layer in self.layers.items():
                layer.tangent = (direction.down[path], direction.up[path], epsilon)
            yield
        finally:
            for layer in self.layers.values():
                layer.tangent = None

    def weights(self) -> dict[str, Tensor]:
        """The frozen matrix W (out, in) of every target module."""
        return {path: layer.matrix() for path, layer in self.layers.items()}

    def _device(self) -> torch.device:
        return next(iter(self.layers.values())).weight.device

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
        (folder / "adapter_model.safetensors").chmod(0o644)
        config = peft_config(adapter, self.target_modules, backbone, task)
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    def tensors(self, adapter: Adapter, prefix: str) -> dict[str, Tensor]:
        """One run under peft's names and in peft's shapes."""
        tensors = {}
        for path, layer in self.layers.items():
            tail = (1, 1) if layer.convolution else ()
            for name, matrix in (("lora_A", adapter.down[path]), ("lora_B", adapter.up[path])):
                plain = matrix[0].detach().cpu().float().contiguous().clone()
                tensors[f"{prefix}{path}.{name}.weight"] = plain.reshape(*plain.shape, *tail)
        return tensors


def load(folder: Path) -> Adapter:
    """Read a peft folder that `LoraModel.save` wrote, as an adapter of one run on the CPU."""
    config = json.loads((folder / "adapter_config.json").read_text())
    return from_tensors(load_file(folder / "adapter_model.safetensors"), config["r"], config["lora_alpha"])


def from_tensors(tensors: Mapping[str, Tensor], rank: int, alpha: float) -> Adapter:
    """Return an adapter of one run from tensors under peft's names."""
    down: dict[str, Tensor] = {}
    up: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        path, matrix, _ = key.removeprefix(PREFIX).rsplit(".", 2)
        (down if matrix == "lora_A" else up)[path] = tensor.flatten(1).unsqueeze(0)
    return Adapter(rank, alpha, down, {path: up[path] for path in down})


def from_stack(tensors: Mapping[str, Tensor], rank: int, alpha: float) -> Adapter:
    """Return the adapter, of any number of runs, that `Adapter.tensors` named."""
    parts: dict[str, dict[str, Tensor]] = {"down": {}, "up": {}}
    for name, tensor in tensors.items():
        matrix, _, path = name.partition("/")
        parts[matrix][path] = tensor
    return Adapter(rank, alpha, parts["down"], parts["up"])


def peft_config(
    adapter: Adapter, target_modules: Sequence[str], backbone: str, task: str | None = None
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
        "target_modules": sorted(target_modules),
        "task_type": task,
        "use_dora": False,
        "use_rslora": False,
    }


def _wrap(model: nn.Module, target_modules: Sequence[str]) -> dict[str, LoraLayer]:
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

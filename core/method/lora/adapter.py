"""LoRA adapters: stacks of matrices by module path, and how they are read from files.

One mechanism serves folds, per-sample gradients and scores: an adapter is a stack of R runs, and a batch is read as R
equal parts, one for each run. R surrogates then train in one pass over the frozen backbone; R copies of one adapter,
each seeing one example, give per-sample gradients; and a tangent scaled by a scalar for every sample gives scores.

Shapes: R runs, r rank, N = R b samples, run-major.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from core.method.transfers import to_device, to_host

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
        copies = iter(to_host(self.parameters(), copy=True))
        pairs = {path: (next(copies), next(copies)) for path in self.down}
        down, up = ({path: pair[side] for path, pair in pairs.items()} for side in (0, 1))
        return Adapter(self.rank, self.alpha, down, up)

    def to(self, device: torch.device | str, *, trainable: bool = False) -> Adapter:
        """Return a copy on the device, as leaves that record gradients where `trainable`."""
        return self._map(lambda matrix: to_device(matrix.detach().clone(), device).requires_grad_(trainable))

    def select(self, run: int) -> Adapter:
        """Return one run as an adapter of its own (R = 1)."""
        return self._map(lambda matrix: matrix[run : run + 1])

    def part(self, runs: slice) -> Adapter:
        """Return some of the runs, through which these learn; the adapter itself where they are all."""
        return self if len(range(*runs.indices(self.runs))) == self.runs else self._map(lambda matrix: matrix[runs])

    def expand(self, copies: int) -> Adapter:
        """Return the one run R = `copies` times, as fresh leaves: their gradients are per-sample gradients."""
        return self._map(lambda matrix: matrix.detach().repeat(copies, 1, 1).requires_grad_())

    def tensors(self) -> dict[str, Tensor]:
        """Return every matrix by a name of its own, detached; `from_stack` reads them."""
        named = {f"down/{path}": matrix.detach() for path, matrix in self.down.items()}
        return named | {f"up/{path}": matrix.detach() for path, matrix in self.up.items()}

    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(torch.stack([matrix.isfinite().all() for matrix in self.parameters()]).all())

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

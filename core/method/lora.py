"""LoRA as stacked adapters: the one mechanism behind folds, per-sample gradients and influence scores.

Shapes: R stacked runs, b samples a run, N = R b samples in one batch (run-major), r rank.
A layer computes y = W x + s B A x with A = `down`, B = `up`, s = alpha / rank (Hu et al., 2106.09685, section 4.1).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import InvalidInput


@dataclass(frozen=True)
class Adapter:
    """Hold the weights of R stacked adapters: `down[path]` (R, r, in) and `up[path]` (R, out, r), float32."""

    rank: int
    alpha: float
    down: dict[str, Tensor]
    up: dict[str, Tensor]

    @property
    def scaling(self) -> float:
        """Return s = alpha / rank."""
        return self.alpha / self.rank

    @property
    def runs(self) -> int:
        """Return R."""
        return len(next(iter(self.down.values())))

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        return next(iter(self.down.values())).device

    def parameters(self) -> list[Tensor]:
        """Return every weight, `down` before `up`, module by module."""
        return [weight for path in self.down for weight in (self.down[path], self.up[path])]

    def clone(self) -> Adapter:
        """Return a deep copy on the CPU that later training cannot reach."""
        return self._map(lambda weight: weight.detach().to("cpu", copy=True))

    def to(self, device: torch.device | str) -> Adapter:
        """Return the adapter on `device`; what is there already is shared, not copied."""
        return self._map(lambda weight: weight.to(device))

    def select(self, run: int) -> Adapter:
        """Return a copy of one run (R = 1)."""
        return self._map(lambda weight: weight.detach()[run].unsqueeze(0).clone())

    def expand(self, runs: int) -> Adapter:
        """Return `runs` copies of a single adapter, each a leaf of its own that collects its own gradient."""
        if self.runs != 1:
            raise ValueError(f"only a single adapter can be expanded, this one has {self.runs} runs")
        return self._map(lambda weight: weight.detach().repeat(runs, 1, 1).requires_grad_(True))

    @staticmethod
    def stack(adapters: Sequence[Adapter]) -> Adapter:
        """Return the runs of all `adapters`, in order, as one adapter."""
        first = adapters[0]
        shapes = {(other.rank, other.alpha, tuple(other.down)) for other in adapters}
        if len(shapes) != 1:
            raise ValueError("adapters of different rank, alpha or modules cannot be stacked")
        down = {path: torch.cat([other.down[path].detach() for other in adapters]) for path in first.down}
        up = {path: torch.cat([other.up[path].detach() for other in adapters]) for path in first.down}
        return replace(first, down=down, up=up)

    def norm(self) -> Tensor:
        """Return the Euclidean norm of each run's weights (R,)."""
        squares = [weight.detach().square().sum((1, 2)) for weight in self.parameters()]
        return torch.stack(squares).sum(0).sqrt()

    def finite(self) -> bool:
        """Tell whether every weight is a finite number."""
        return bool(torch.isfinite(self.norm()).all())

    def sha256(self) -> str:
        """Return a hash of rank, alpha, module paths and every bit of the weights."""
        digest = hashlib.sha256(f"{self.rank} {self.alpha}".encode())
        for path in sorted(self.down):
            for weight in (self.down[path], self.up[path]):
                digest.update(f" {path} {tuple(weight.shape)} ".encode())
                digest.update(weight.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _map(self, change: Callable[[Tensor], Tensor]) -> Adapter:
        down = {path: change(weight) for path, weight in self.down.items()}
        return replace(self, down=down, up={path: change(weight) for path, weight in self.up.items()})


@dataclass(frozen=True)
class Tangent:
    """A direction in weight space and how far each sample goes along it (N,)."""

    direction: Adapter
    epsilon: Tensor


class LoraModel:
    """Give the target modules of a frozen network a LoRA branch, computed by whichever adapter is in use.

    The branch is a forward hook, so the network keeps its structure, names and state dict; `detach` takes it away.
    Targets are Linear and 1x1 Conv2d modules, matched as peft does: by the end of their path, or, given one string, by
    a regular expression over the whole path. Raises InvalidInput where a target is missing or of another kind.
    """

    def __init__(self, network: nn.Module, target_modules: Sequence[str] | str) -> None:
        self.network = network.requires_grad_(False).eval()
        self.target_modules = target_modules if isinstance(target_modules, str) else tuple(sorted(target_modules))
        self.modules = find_targets(network, self.target_modules)
        self.adapter: Adapter | None = None
        self._tangent: Tangent | None = None
        self._hooks = [m.register_forward_hook(partial(self._add_branch, path)) for path, m in self.modules.items()]

    def detach(self) -> None:
        """Take the branches out of the network again."""
        for hook in self._hooks:
            hook.remove()

    @property
    def device(self) -> torch.device:
        """Return where the network computes."""
        return next(iter(self.modules.values())).weight.device

    def weights(self) -> dict[str, Tensor]:
        """Return the frozen matrix (out, in) of every target module, by path."""
        return {path: module.weight.detach().flatten(1) for path, module in self.modules.items()}

    def new(self, rank: int, alpha: float, runs: int = 1, generator: torch.Generator | None = None) -> Adapter:
        """Return a fresh adapter, the same in every run: `down` uniform in +-1/sqrt(in) as in peft, `up` zero.

        The numbers are drawn on the CPU, so that a seed means the same adapter on every device.
        """
        down, up = {}, {}
        for path, weight in self.weights().items():
            rows, columns = weight.shape
            drawn = torch.empty(1, rank, columns).uniform_(-1, 1, generator=generator) / math.sqrt(columns)
            down[path] = drawn.repeat(runs, 1, 1).to(self.device)
            up[path] = torch.zeros(runs, rows, rank, device=self.device)
        return Adapter(rank, alpha, down, up)

    @contextmanager
    def use(self, adapter: Adapter | None) -> Iterator[None]:
        """Compute with `adapter` (None: the bare backbone) inside the block, and with the one before it afterwards."""
        before = self.adapter
        self.adapter = None if adapter is None else adapter.to(self.device)
        try:
            yield
        finally:
            self.adapter = before

    @contextmanager
    def tangent(self, direction: Adapter | None, epsilon: Tensor | None) -> Iterator[None]:
        """Move sample i by epsilon_i along `direction` in weight space, to first order in epsilon.

        The layer gains s epsilon_i (U_B A x + B U_A x), so the derivative of the summed loss with respect to epsilon, at
        zero, is <grad L_i, u> for every sample at once, in one backward pass (our reconstruction, notes C.1 and C.3).
        """
        before = self._tangent
        given = direction is not None and epsilon is not None
        self._tangent = Tangent(direction.to(self.device), epsilon) if given else None
        try:
            yield
        finally:
            self._tangent = before

    def _add_branch(self, path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.adapter is None:
            return output
        convolution = isinstance(module, nn.Conv2d)
        x = inputs[0].flatten(2).transpose(1, 2) if convolution else inputs[0]
        # The adapter is fp32 whatever the backbone computes in: bf16 loses small updates.
        with torch.autocast(x.device.type, enabled=False):
            delta = self._branch(path, x.float())
        if convolution:
            delta = delta.transpose(1, 2).unflatten(2, output.shape[2:])
        return output + delta.to(output.dtype)

    def _branch(self, path: str, x: Tensor) -> Tensor:
        """Return s B A x for (N, ..., in), with the tangent's share where there is one."""
        adapter, tangent = self.adapter, self._tangent
        down, up = adapter.down[path], adapter.up[path]
        hidden = project(x, down)
        delta = project(hidden, up)
        if tangent is not None:
            u_down, u_up = tangent.direction.down[path], tangent.direction.up[path]
            slope = project(hidden, u_up) + project(project(x, u_down), up)
            delta = delta + slope * tangent.epsilon.reshape(-1, *[1] * (slope.dim() - 1))
        return delta * adapter.scaling


def project(x: Tensor, weight: Tensor) -> Tensor:
    """Multiply run-major samples (N, ..., in) with their own run's matrix, weight (R, out, in) or (1, out, in)."""
    if len(weight) == 1:
        return functional.linear(x, weight[0])
    runs = x.reshape(len(weight), -1, x.shape[-1])
    return torch.bmm(runs, weight.transpose(1, 2)).reshape(*x.shape[:-1], weight.shape[1])


def find_targets(network: nn.Module, target_modules: Sequence[str] | str) -> dict[str, nn.Module]:
    """Return the modules of `network` that `target_modules` names, by path; raise InvalidInput as LoraModel says."""
    found = {path: module for path, module in network.named_modules() if _is_target(path, target_modules)}
    if not found:
        raise _refusal(f"No module of the backbone is called {target_modules}.")
    for path, module in found.items():
        if not _takes_lora(module):
            raise _refusal(f"{path} is a {type(module).__name__}: only Linear and 1x1 Conv2d modules can be adapted.")
    return found


def _is_target(path: str, target_modules: Sequence[str] | str) -> bool:
    if isinstance(target_modules, str):
        return re.fullmatch(target_modules, path) is not None
    return any(path == name or path.endswith(f".{name}") for name in target_modules)


def _takes_lora(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        # `project` sees a convolution as a matrix per pixel, which only these settings are.
        return (module.kernel_size, module.stride, module.padding, module.groups) == ((1, 1), (1, 1), (0, 0), 1)
    return isinstance(module, nn.Linear)


def _refusal(problem: str) -> InvalidInput:
    return InvalidInput(f"{problem} Mend the backbone's target_modules.", code="target_modules", param="target_modules")


def same_modules(adapter: Adapter, weights: Mapping[str, Tensor]) -> bool:
    """Tell whether `adapter` fits a network whose target matrices are `weights`."""
    fits = {path: (down.shape[2], adapter.up[path].shape[1]) for path, down in adapter.down.items()}
    return fits == {path: (weight.shape[1], weight.shape[0]) for path, weight in weights.items()}

"""What each change that suggests itself would gain: it is put in place of the method's own code for some steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from benchmarks.gpu.backbones import latents, sized, training
from benchmarks.gpu.measuring import Facts, cuda, release, row, timed
from benchmarks.gpu.setup import Setup
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.lora.layer import LoraLayer
from core.method.training import loop

_own_forward = LoraLayer.forward


def remedies(setup: Setup) -> Facts:
    """Steps at Stable Diffusion 1.5's size, of one run and of four folds, with one change after the other."""
    found: Facts = {}
    for size, runs in ((1, 1), (4, 4)):
        backbone = sized(setup)
        name = f"b={size} runs={runs}"
        found[f"as it is {name}"] = _step(setup, backbone, size, runs)
        found[f"clip ms {name}"] = _clip_ms(backbone, size, runs)
        with _replaced(loop, "_clip", _clip_by_foreach):
            found[f"clip by foreach {name}"] = _step(setup, backbone, size, runs)
            found[f"and fused AdamW {name}"] = _step(setup, backbone, size, runs, fused=True)
            with _replaced(LoraLayer, "forward", _forward_in_own_precision):
                found[f"and the branch in bf16 {name}"] = _step(setup, backbone, size, runs, fused=True)
                backbone.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
                found[f"and channels last {name}"] = _step(setup, backbone, size, runs, fused=True)
        del backbone
    backbone = sized(setup)
    backbone.network.enable_gradient_checkpointing()
    backbone.network.train()
    return found | {"as it is, with checkpointing b=4 runs=4": _step(setup, backbone, 4, 4)}


def _step(setup: Setup, backbone: DiffusionBackbone, size: int, runs: int, fused: bool = False) -> Facts:
    release()
    steps, adapter = training(backbone, latents(backbone, 20), size, runs=runs)
    if fused and cuda():
        steps._optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
    return row(timed(lambda: next(steps), setup.size(6, 1), setup.size(3, 1)))


def _clip_ms(backbone: DiffusionBackbone, size: int, runs: int) -> float:
    steps, adapter = training(backbone, latents(backbone, 20), size, runs=runs)
    steps._backward(*next(steps._batches))
    return round(1e3 * timed(lambda: loop._clip(adapter.parameters(), 1e9), 5, 1), 2)


def _clip_by_foreach(parameters: Sequence[Tensor], limit: float) -> Tensor:
    """Scale each run's gradient to at most `limit`, in a few kernels for all; returns the norms before, (R,)."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients[0].shape[0] > 1:
        norms = torch.cat([gradient.flatten(1) for gradient in gradients], 1).norm(dim=1)
        factors = (limit / norms.clamp_min(1e-12)).clamp_max(1.0).view(-1, 1, 1)
        for gradient in gradients:
            gradient.mul_(factors)
        return norms
    norms = torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt().view(1)
    torch._foreach_mul_(gradients, (limit / norms.clamp_min(1e-12)).clamp_max(1.0)[0])
    return norms


def _forward_in_own_precision(self: LoraLayer, inputs: Tensor) -> Tensor:
    """Compute the branch in the network's own numbers; A and B stay float32 leaves."""
    if self.down is None or self.up is None or self.tangent is not None:
        return _own_forward(self, inputs)
    outputs = self.base(inputs)
    rows = inputs.flatten(2).transpose(1, 2) if self.convolution else inputs
    rows = rows.reshape(self.down.shape[0], -1, rows.shape[-1])
    inner = torch.bmm(rows, self.down.to(rows.dtype).transpose(1, 2))
    branch = torch.bmm(inner, (self.scale * self.up).to(rows.dtype).transpose(1, 2))
    if self.convolution:
        samples, channels, height, width = outputs.shape
        branch = branch.reshape(samples, height * width, channels).transpose(1, 2)
    return outputs + branch.reshape(outputs.shape)


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)

"""What changes that suggest themselves would gain: steps with and without them."""

from __future__ import annotations

import torch

from benchmarks.gpu.backbones import latents, sized, training
from benchmarks.gpu.measuring import Facts, release, row, timed
from benchmarks.gpu.setup import Setup
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.training import loop


def remedies(setup: Setup) -> Facts:
    """Steps at Stable Diffusion 1.5's size, of one run and of four folds, with one change after the other."""
    found: Facts = {}
    for size, runs in ((1, 1), (4, 4)):
        backbone = sized(setup)
        name = f"b={size} runs={runs}"
        found[f"as it is {name}"] = _step(setup, backbone, size, runs)
        found[f"clip ms {name}"] = _clip_ms(backbone, size, runs)
        backbone.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        found[f"channels last {name}"] = _step(setup, backbone, size, runs)
        del backbone
    backbone = sized(setup)
    backbone.network.enable_gradient_checkpointing()
    backbone.network.train()
    return found | {"as it is, with checkpointing b=4 runs=4": _step(setup, backbone, 4, 4)}


def _step(setup: Setup, backbone: DiffusionBackbone, size: int, runs: int) -> Facts:
    release()
    steps, _ = training(backbone, latents(backbone, 20), size, runs=runs)
    return row(timed(lambda: next(steps), setup.size(6, 1), setup.size(3, 1)))


def _clip_ms(backbone: DiffusionBackbone, size: int, runs: int) -> float:
    steps, adapter = training(backbone, latents(backbone, 20), size, runs=runs)
    steps._backward(*next(steps._batches))
    return round(1e3 * timed(lambda: loop._clip(adapter.parameters(), 1e9), 5, 1), 2)

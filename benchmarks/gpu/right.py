"""Is it right: losses, gradients, scores and CS on the device against those on the CPU, in float32 and as jobs run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.backbones import Item, emoji, emoji_items, language, text_items, training, warmed
from benchmarks.gpu.measuring import Facts, cosine, off, release
from benchmarks.gpu.setup import Setup
from benchmarks.rank_correlation import spearman
from core.method.backbones.backbone import Batch, count
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import per_sample_gradients
from core.method.influence.scores import scorer
from core.method.stopping.similarity import CosineSimilarity
from core.method.training.loop import evaluate

Load = Callable[[str, torch.dtype | None], DiffusionBackbone | LanguageBackbone]
OWN = "as it is"  # in the numbers that a job computes with here: bf16 on CUDA
STEPS = 4


@dataclass(frozen=True)
class Computed:
    """What one device has computed of the same examples, draws and adapter."""

    losses: Tensor
    gradients: Tensor
    scores: Tensor
    direction: Tensor
    cs: Tensor
    step_losses: Tensor
    step_norms: Tensor
    encoded: Batch


def right_images(setup: Setup) -> Facts:
    """The demo's backbone."""
    references, candidates = emoji_items(setup.size(16, 4))
    return _compared(setup, emoji, references[: setup.size(6, 4)], candidates)


def right_texts(setup: Setup) -> Facts:
    """A LLaMA that is small enough for a CPU."""

    def load(device: str, dtype: torch.dtype | None) -> LanguageBackbone:
        return language(setup.folder, setup.size("small", "toy"), device, dtype)

    return _compared(setup, load, text_items(6), text_items(setup.size(16, 8), 1))


def _compared(setup: Setup, load: Load, references: Sequence[Item], candidates: Sequence[Item]) -> Facts:
    backbone = load("cpu", torch.float32)
    batches = backbone.encode(references), backbone.encode(candidates)
    wanted = _computed(backbone, *batches, backbone.encode(references))
    rows: Facts = {}
    for name, dtype in (("float32", torch.float32), (OWN, None)):
        release()
        torch.backends.cudnn.allow_tf32 = dtype is None
        backbone = load(setup.device, dtype)
        rows[name] = _difference(_computed(backbone, *batches, backbone.encode(references)), wanted)
    torch.backends.cudnn.allow_tf32 = True
    return rows | {"verdict": _verdict(rows["float32"], rows[OWN])}


def _computed(
    backbone: DiffusionBackbone | LanguageBackbone, batch: Batch, candidates: Batch, encoded: Batch
) -> Computed:
    draws, noise = backbone.fixed_draws(2, count(batch), 0), backbone.fixed_draws(1, count(candidates), 0)
    adapter = warmed(backbone.lora.new(4, 4.0))
    made = scorer(backbone, adapter, batch, draws, held=[0, 1], trained=list(range(2, count(batch))))
    losses = evaluate(backbone, adapter, batch, draws)
    gradients = per_sample_gradients(backbone, adapter, batch, draws).rows.cpu()
    scores = made.score(candidates, noise)
    steps, live = training(backbone, batch, min(4, count(batch)), runs=2, rank=4, rate=1e-3)
    trained = [next(steps) for _ in range(STEPS)]
    return Computed(
        losses,
        gradients,
        scores,
        made.direction.cpu(),
        CosineSimilarity(backbone.lora.weights())(live.to(backbone.device)).cpu(),
        torch.tensor([step.loss for step in trained]),
        torch.tensor([step.gradient_norm for step in trained]),
        encoded,
    )


def _difference(got: Computed, wanted: Computed) -> dict[str, Any]:
    return {
        "loss": off(got.losses, wanted.losses),
        "gradient": off(got.gradients, wanted.gradients),
        "gradient cosine": cosine(got.gradients, wanted.gradients),
        "direction cosine": cosine(got.direction, wanted.direction),
        "score": off(got.scores, wanted.scores),
        "score spearman": spearman(got.scores.flatten(), wanted.scores.flatten()),
        "cs": off(got.cs, wanted.cs),
        f"losses of {STEPS} steps": off(got.step_losses, wanted.step_losses),
        f"norms of {STEPS} steps": off(got.step_norms, wanted.step_norms),
        "encoded": {name: off(part.float(), wanted.encoded[name].float()) for name, part in got.encoded.items()},
    }


def _verdict(strict: Facts, loose: Facts) -> dict[str, bool]:
    norms = f"norms of {STEPS} steps"
    return {
        "float32 agrees": strict["loss"] < 1e-4 and strict["gradient"] < 2e-3 and strict[norms] < 5e-3,
        "bf16 is near": loose["loss"] < 5e-2 and loose["gradient cosine"] > 0.97,
        "bf16 ranks alike": loose["score spearman"] > 0.9,
    }

"""How fast, and in how much memory: steps of one run and of four folds, and scores, at the sizes that people train."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.gpu.backbones import LETTERS, emoji, emoji_items, language, latents, sized, training, warmed
from benchmarks.gpu.measuring import Facts, peak, profiled, release, row, timed
from benchmarks.gpu.setup import Setup
from core.method.backbones.backbone import Batch, count
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import per_sample_gradients
from core.method.influence.scores import score_draws
from core.method.lora.adapter import Adapter
from core.method.stopping.similarity import CosineSimilarity

CS_EVERY_IMAGES, CS_EVERY_TEXTS = 5, 2  # steps between two looks at CS, as jobs of these sizes have it


def steps_images(setup: Setup) -> Facts:
    """Stable Diffusion 1.5 at 512 pixels: a step of one run and of four folds; what CS and snapshots take of it."""
    release()
    backbone = sized(setup)
    batch = latents(backbone, 20)
    found: Facts = {"weights": sum(p.numel() for p in backbone.network.parameters())}
    for size, runs in ((1, 1), (4, 1), (1, 4), (4, 4)):
        release()
        steps, adapter = training(backbone, batch, size, runs=runs)
        backbone.profiler.begin()
        seconds = timed(partial(next, steps), setup.size(8, 2), setup.size(3, 1))
        told = backbone.profiler.kinds["step"]  # as a job times it, the first ones too
        more = {"per second": round(1 / seconds, 2), "as jobs time it, ms": round(1000 * told.seconds / told.calls, 2)}
        found[f"step b={size} runs={runs}"] = row(seconds, **more)
        if size == runs:
            found[f"profile b={size} runs={runs}"] = profiled(partial(next, steps))
        if size == runs == 1:
            found |= _similarity(setup, backbone, adapter, seconds, CS_EVERY_IMAGES)
        del steps, adapter
    one, four = found["step b=4 runs=1"]["ms"], found["step b=4 runs=4"]["ms"]
    return found | {"four folds cost, in runs": round(four / one, 2)}


def steps_texts(setup: Setup) -> Facts:
    """A LLaMA of SmolLM2-135M's shape: a step of one run and of four folds, and scores, of 512 tokens a text."""
    backbone, batch, size = texts(setup)
    tokens = batch["input_ids"].shape[1]
    found: Facts = {}
    for runs in (1, 4):
        release()
        steps, adapter = training(backbone, batch, size, runs=runs)
        seconds = timed(partial(next, steps), setup.size(8, 2), setup.size(3, 1))
        rate = {"tokens a second": round(size * runs * tokens / seconds)}
        found[f"step b={size} runs={runs}"] = row(seconds, **rate)
        if runs == 1:
            found["profile"] = profiled(partial(next, steps))
            found |= _similarity(setup, backbone, adapter, seconds, CS_EVERY_TEXTS)
        del steps, adapter
    one, four = found[f"step b={size} runs=1"]["ms"], found[f"step b={size} runs=4"]["ms"]
    return found | {"four folds cost, in runs": round(four / one, 2), "scoring": _scoring(backbone, batch, 2)}


def texts(setup: Setup) -> tuple[LanguageBackbone, Batch, int]:
    """Return the language model, sixteen texts of random letters, all of one length, and how many make a batch."""
    tokens, size = setup.size((512, 4), (32, 2))
    backbone = language(setup.folder, setup.size("135m", "toy"), setup.device, tokens=tokens)
    ids = torch.randint(2, len(LETTERS), (16, tokens), generator=torch.Generator().manual_seed(0))
    return backbone, {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}, size


def scoring(setup: Setup) -> Facts:
    """Milliseconds and memory a candidate: scores, and the per-sample gradients that curvature is made of."""
    small = emoji(setup.device)
    found: Facts = {"emoji": _scoring(small, small.encode(emoji_items(setup.size(32, 2))[1]), setup.size(3, 1))}
    del small
    for amount in setup.size((1, 8, 32), (1, 2)):
        release()
        backbone = sized(setup)
        try:
            found[f"sd, {amount} at once"] = _scoring(backbone, latents(backbone, amount), 2)
        except torch.OutOfMemoryError as error:
            found[f"sd, {amount} at once"] = str(error)[:120]
        del backbone
    return found


def loading(setup: Setup) -> Facts:
    """How long the demo's backbone takes from the disk to the device."""
    return {"emoji s": round(timed(lambda: emoji(setup.device), 1, 0), 2)}


def _similarity(
    setup: Setup, backbone: DiffusionBackbone | LanguageBackbone, adapter: Adapter, step: float, every: int
) -> Facts:
    """Say what CS and a snapshot take, CS also as the share of a step that takes so many seconds."""
    single = adapter.to(setup.device)
    similarity = CosineSimilarity(backbone.lora.weights())
    cs = timed(lambda: float(similarity(single)[0]), setup.size(5, 1), 1)
    snapshot = timed(single.clone, setup.size(5, 1), 1)
    return {
        "cs ms": round(1e3 * cs, 2),
        f"cs share of a step, every {every}": round(cs / every / step, 3),
        "snapshot ms": round(1e3 * snapshot, 2),
    }


def _scoring(backbone: DiffusionBackbone | LanguageBackbone, batch: Batch, times: int) -> Facts:
    release()
    adapter, direction = (warmed(backbone.lora.new(16, 16.0), seed) for seed in (3, 9))
    draws, amount = backbone.fixed_draws(1, count(batch), 0), count(batch)
    seconds = timed(lambda: score_draws(backbone, adapter, direction, batch, draws), times, 1)
    found: Facts = {"ms a candidate": round(1e3 * seconds / amount, 3), "peak GiB": peak()}
    release()
    seconds = timed(lambda: per_sample_gradients(backbone, adapter, batch, draws), times, 1)
    gradients = {"ms an example": round(1e3 * seconds / amount, 3), "peak GiB": peak()}
    return found | {"per-sample gradients": gradients}

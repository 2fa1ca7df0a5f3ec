"""Every part of the method on a pretended GPU: what would raise there, and where the host would wait.

`python -m tests.core.method.pretended_gpu.attempts images|texts [--whole]` prints JSON as its last line; --whole also
runs each stage to its end and writes every format.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor

from benchmarks.gpu.backbones import parameters, stream
from core.disk import ROOT
from core.method.backbones.backbone import Batch, Draw, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.influence.gradients import as_adapter, per_sample_gradients, restricted
from core.method.influence.scores import score_draws, scorer
from core.method.lora.adapter import Adapter
from core.method.mixing.error_law import error_law
from core.method.protection.keeping import kept_distance
from core.method.protection.protection import Protection
from core.method.stopping.similarity import CosineSimilarity
from core.method.training.batches import MixedBatches, SideBySide
from core.method.training.loop import Training, evaluate
from core.method.training.surrogates import captions
from core.method.transfers import to_host
from core.parameters.parameters import Parameters
from tests.core.method.pretended_gpu.counting import counting
from tests.core.method.pretended_gpu.device import DEVICE
from tests.tiny_backbones import LLAMA_TARGETS, UNET_TARGETS, random_diffusion, write_language

Backbone = DiffusionBackbone | LanguageBackbone
Value = TypeVar("Value")
SMALL: dict[str, Any] = {
    "rank": 2,
    "alpha": 2.0,
    "batch_size": 2,
    "max_steps": 12,
    "surrogate_steps": 8,
    "folds": 3,
    "draws_score": 3,
    "draws_eval": 2,
    "selected_count": 6,
    "interval": 3,
    "learning_rate": 1e-2,
}
SENTENCES = (
    "hello there",
    "a cat sat on a mat",
    "ships sail far",
    "bread and salt",
    "the end of it",
    "no more of that",
)
OTHER_SCORES = ("datainf", "cosine", "kolossov_bartlett", "fisher_full")


@dataclass
class Attempts:
    """What was tried, by name: whether it went well, and what the host waited for."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __call__(self, name: str, action: Callable[[], Value]) -> Value | None:
        """Try something; returns what it returns, or None where it failed."""
        began = time.monotonic()
        try:
            with counting() as counted:
                value = action()
        except Exception as error:
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename]
            place = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames[-3:]))
            self.results[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"[:600], "place": place}
            print(f"FAILED {name}: {self.results[name]['error']} at {place}")
            return None
        self.results[name] = {
            "ok": True,
            "waits": sum(counted.waits.values()),
            "kinds": counted.by_kind(),
            "launched": sum(counted.operations.values()),
            "bytes in": counted.bytes_in,
            "bytes out": counted.bytes_out,
            "places": {f"{kind} {place}": times for (kind, place), times in counted.waits.most_common(14)},
        }
        print(f"done {time.monotonic() - began:5.1f} s  {name}: {self.results[name]['kinds']}")
        return value


def load(family: str, folder: Path) -> Backbone:
    """Write a tiny backbone and move it to the pretended device, in bf16 as on a GPU."""
    if family == "texts":
        texts = LanguageBackbone.load(write_language(folder), max_tokens=48, target_modules=LLAMA_TARGETS)
        texts.model.to(torch.bfloat16).to(DEVICE)
        return texts
    random_diffusion().save_pretrained(folder)
    images = DiffusionBackbone.load(folder, resolution=16, target_modules=UNET_TARGETS)
    images.pipeline.to(torch.bfloat16)
    images.pipeline.to(DEVICE)
    return images


def items(family: str, amount: int, seed: int) -> list[dict[str, Any]]:
    """Return examples that differ."""
    if family == "images":
        draw = torch.Generator().manual_seed(seed)
        pixels = (torch.rand(amount, 16, 16, 3, generator=draw) * 255).byte().numpy()
        return [{"image": Image.fromarray(each), "caption": f"pic {i}"} for i, each in enumerate(pixels)]
    return [
        {"prompt": SENTENCES[(i + seed) % 6], "completion": f"{SENTENCES[(i * 5 + seed + 1) % 6]} {i}"}
        for i in range(amount)
    ]


def parts(attempt: Attempts, family: str, backbone: Backbone, p: Parameters) -> tuple[Batch, Batch]:
    """Try each part by itself; returns the encoded references and candidates."""
    references = attempt("encode references", lambda: backbone.encode(items(family, 6, 1)))
    assert references is not None
    candidates = backbone.encode(items(family, 40, 2))
    if isinstance(backbone, DiffusionBackbone):
        attempt("features", partial(backbone.features, [item["image"] for item in items(family, 2, 1)]))
    steps(attempt, backbone, p, references, candidates)
    scores(attempt, backbone, references, candidates)
    return references, candidates


def steps(attempt: Attempts, backbone: Backbone, p: Parameters, references: Batch, candidates: Batch) -> None:
    """Try steps of training and what is measured between them; each second step, for the first makes AdamW's state."""
    draws = backbone.fixed_draws(2, 6, 0)
    attempt("evaluate without adapter", lambda: evaluate(backbone, None, references, draws))
    planted = partial(evaluate, backbone, None, references, draws, partial(left_on_the_cpu, backbone))
    attempt("a planted mistake", planted)
    some = take(candidates, torch.arange(4))
    mixed = MixedBatches(backbone, references, Protection(0.5, examples=some), 2, captions(backbone, p), 0)
    one = Training(backbone, backbone.lora.new(2, 2.0), mixed, learning_rate=1e-2, max_steps=50)
    next(one)
    attempt("one step, one run", partial(next, one))
    held = MixedBatches(backbone, references, Protection.by("both", 4.0, 0.5, some), 2, captions(backbone, p), 0)
    kept = Training(backbone, backbone.lora.new(2, 2.0), held, learning_rate=1e-2, max_steps=50)
    next(kept)
    attempt("one step, distilled", partial(next, kept))
    attempt("distance", lambda: kept_distance(backbone, kept.average, references, draws))
    adapter = backbone.lora.new(2, 2.0, runs=3, seed=0)
    stacked = folds(backbone, adapter, references)
    attempt("one step, three folds", partial(next, stacked))
    attempt("one step, three folds again", partial(next, stacked))
    pieces = folds(backbone, backbone.lora.new(2, 2.0, runs=3), references, pieces=2)
    attempt("one step, three folds, two pieces", partial(next, pieces))
    attempt("evaluate three folds", lambda: evaluate(backbone, adapter, references, draws))
    attempt("snapshot", adapter.clone)
    attempt("state of training", lambda: to_host(list(stacked.state().tensors.values())))
    single = adapter.select(0).to(backbone.device)
    similarity = CosineSimilarity(backbone.lora.weights())
    attempt("CS, once", lambda: float(similarity(single)[0]))
    attempt("CS by rows", lambda: float(CosineSimilarity(backbone.lora.weights(), "row")(adapter)[0]))


def left_on_the_cpu(backbone: Backbone, batch: Batch, draw: Draw) -> Tensor:
    """Return losses as somebody computes them who forgets to move a tensor."""
    return backbone.loss(batch, draw) + torch.ones(count(batch))


def folds(backbone: Backbone, adapter: Adapter, references: Batch, pieces: int = 1) -> Training:
    """Return a training of three folds after its first step."""
    batches = SideBySide([stream(backbone, references, 2, seed) for seed in range(3)])
    training = Training(backbone, adapter, batches, learning_rate=1e-2, max_steps=50, pieces=pieces)
    next(training)
    return training


def scores(attempt: Attempts, backbone: Backbone, references: Batch, candidates: Batch) -> None:
    """Try what scores are made of, and every kind of score."""
    draws, noise = backbone.fixed_draws(2, 6, 0), backbone.fixed_draws(1, 16, 0)
    adapter, few = backbone.lora.new(2, 2.0, seed=1).to(backbone.device), take(candidates, torch.arange(16))
    split: dict[str, Any] = {"held": [0, 1], "trained": [2, 3, 4, 5]}
    gradients = partial(per_sample_gradients, backbone, adapter, references, draws, per_draw=True)
    attempt("per-sample gradients", gradients)
    ready = attempt("prepare a scorer", lambda: scorer(backbone, adapter, references, draws, **split))
    assert ready is not None
    small = restricted(adapter, set(list(adapter.down)[:2]))
    attempt("prepare a scorer, two modules", lambda: scorer(backbone, small, references, draws, **split))
    for rows in (6, 24):
        some = torch.randn(2, rows, 30, generator=torch.Generator().manual_seed(0)).to(backbone.device)
        attempt(f"error law of {rows} rows", lambda: error_law(*some, n=rows, m=rows))  # noqa: B023
    direction = as_adapter(ready.direction, adapter)
    attempt("score 16, one draw", lambda: score_draws(backbone, adapter, direction, few, noise))
    for mode in OTHER_SCORES:
        prepared = partial(scorer, backbone, adapter, references, draws, **split, mode=mode)
        attempt(f"score by {mode}", lambda: prepared().score(few, noise))  # noqa: B023


def main(family: str, whole: bool) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    attempt = Attempts()
    with tempfile.TemporaryDirectory() as folder:
        backbone = attempt("load and move", lambda: load(family, Path(folder)))
        assert backbone is not None
        p = parameters("images" if family == "images" else "texts", **SMALL)
        references, candidates = parts(attempt, family, backbone, p)
        if whole:
            from tests.core.method.pretended_gpu.stages import stages

            stages(attempt, backbone, p, references, candidates, items(family, 3, 1), Path(folder))
    print(json.dumps(attempt.results))


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main(sys.argv[1], "--whole" in sys.argv)

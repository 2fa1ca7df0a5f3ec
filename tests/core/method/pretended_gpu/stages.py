"""Whole stages on a pretended GPU: surrogates, scores, the trial, the final run, samples, and every format."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.measuring import drained
from benchmarks.gpu.whole import Saver
from core.method import albat
from core.method.backbones.backbone import Batch, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.formats import diffusers, gguf, kohya, merged, peft, witness
from core.method.lora.adapter import Adapter
from core.method.mixing.trial import try_mixture
from core.method.protection.protection import Protection
from core.method.stopping.picture_evidence import judge_pictures
from core.method.training.final_run import Outcome
from core.method.training.surrogates import Surrogate
from core.parameters.parameters import Parameters
from tests.core.method.pretended_gpu.attempts import Attempts, Backbone

STOPPED_AFTER = 5  # steps


def stages(
    attempt: Attempts,
    backbone: Backbone,
    p: Parameters,
    references: Batch,
    candidates: Batch,
    items: Sequence[dict[str, Any]],
    folder: Path,
) -> None:
    """Try one stage after the other."""
    surrogate = attempt("surrogates", lambda: result(albat.train_surrogate(backbone, references, p)))
    assert surrogate is not None
    attempt("surrogates, resumed", lambda: resumed_folds(backbone, references, p, surrogate))
    sources = [f"s{i % 5}" for i in range(40)]
    score = partial(albat.score_candidates, backbone, surrogate, references, candidates, p, sources)
    scoring = attempt("scores of the pool", lambda: result(score()))
    assert scoring is not None
    selected = take(candidates, torch.tensor(scoring.selection.indices))
    law = partial(albat.forecast_error, backbone, surrogate, references, candidates, scoring.selection.indices, p)
    attempt("error law", law)
    attempt(
        "trial", lambda: result(try_mixture(backbone, references, Protection(0.5, examples=selected), surrogate, p))
    )
    few, snapshots = take(candidates, torch.arange(16)), {}
    train = partial(
        albat.train_adapter, backbone, references, Protection(0.5, examples=selected), p, surrogate.curves, few
    )
    outcome = attempt("final run", lambda: result(train(snapshots=snapshots, heldout=few)))
    assert outcome is not None
    attempt("final run, resumed", lambda: resumed(train))
    pictures = [item["image"] for item in items if "image" in item]
    samples(attempt, backbone, snapshots, outcome, pictures)
    formats(attempt, backbone, snapshots[outcome.published_step], references, folder)


def result(generator: Any) -> Any:
    """Run a generator to its end; returns its result."""
    return drained(generator)[1]


def resumed(train: Any) -> None:
    """Stop a final run and go on: the same losses, to the bit."""
    saver = Saver()
    whole, _ = drained(train(snapshots={}))
    drained(train(snapshots={}, keeper=saver), until=STOPPED_AFTER)
    rest, _ = drained(train(snapshots={}, keeper=saver))
    assert [step.loss for step in rest] == [step.loss for step in whole][STOPPED_AFTER:]


def resumed_folds(backbone: Backbone, references: Batch, p: Parameters, wanted: Surrogate) -> None:
    """Stop the training of surrogates and go on: they come to the same step."""
    saver = Saver()
    drained(albat.train_surrogate(backbone, references, p, saver), until=STOPPED_AFTER)
    _, got = drained(albat.train_surrogate(backbone, references, p, saver))
    assert got is not None
    assert got.step == wanted.step


def samples(
    attempt: Attempts, backbone: Backbone, snapshots: dict[int, Adapter], outcome: Outcome, pictures: list[Any]
) -> None:
    """Try samples, and of pictures the judgement of them."""

    def sampled() -> object:
        with backbone.lora.use(snapshots[outcome.published_step].to(backbone.device)):
            return backbone.sample(["one", "two"], seed=0)

    attempt("samples", sampled)
    if isinstance(backbone, DiffusionBackbone):
        judged = sorted(snapshots)[:2]
        judge = partial(judge_pictures, backbone, snapshots, judged, ["one"], ["two"], pictures, seed=0)
        attempt("judge pictures", lambda: result(judge()))


def formats(attempt: Attempts, backbone: Backbone, published: Adapter, references: Batch, folder: Path) -> None:
    """Try to write and check every format, by a witness on the device, where there is always room."""
    draw = backbone.fixed_draws(1, 6, 0)[0]
    patch = pytest.MonkeyPatch()
    patch.setattr(witness, "device_with_room", lambda network, device: device)
    live = published.to(backbone.device)
    attempt("witness, adapter on the device", lambda: witness.Witness(backbone, live, references, draw))
    made = attempt("witness", lambda: witness.Witness(backbone, published, references, draw))
    assert made is not None
    modules: list[tuple[Any, Path, tuple[object, ...]]] = [(peft, folder / "peft", ("tiny", {}))]
    if isinstance(backbone, DiffusionBackbone):
        modules += [(diffusers, folder / diffusers.FILE, ("tiny", {})), (kohya, folder / kohya.FILE, ("tiny", {}))]
    else:
        modules.append((gguf, folder / gguf.FILE, ("tiny", {})))
    for module, path, more in modules:
        write = partial(module.write, backbone, published, path, *more)
        attempt(f"export {module.__name__}", lambda: (write(), module.verify(made, path)))  # noqa: B023
    whole = folder / "merged"
    attempt("export merged", lambda: (merged.write(made, folder, whole), merged.verify(made, folder, whole)))
    patch.undo()

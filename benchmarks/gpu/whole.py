"""All of the method on the device: the same twice, resumed, stacked, and every format written and checked."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor

from benchmarks.gpu.backbones import emoji, emoji_items, language, parameters, stream, text_items
from benchmarks.gpu.measuring import Facts, drained, off
from benchmarks.gpu.setup import Setup
from core.method import albat
from core.method.backbones.backbone import Batch, count, take
from core.method.backbones.images.diffusion import DiffusionBackbone
from core.method.backbones.texts.language import LanguageBackbone
from core.method.formats import diffusers, gguf, kohya, merged, peft
from core.method.formats.witness import Witness
from core.method.lora.adapter import Adapter
from core.method.protection.protection import Protection
from core.method.training.batches import SideBySide
from core.method.training.loop import Step, Training
from core.method.training.resuming import State
from core.parameters.summary import Kind

AnyBackbone = DiffusionBackbone | LanguageBackbone
SMALL: dict[str, Any] = {
    "rank": 4,
    "alpha": 4.0,
    "batch_size": 2,
    "max_steps": 12,
    "surrogate_steps": 8,
    "folds": 3,
    "draws_score": 3,
    "draws_eval": 2,
    "selected_count": 6,
    "interval": 3,
    "learning_rate": 2e-3,
}
GAMMA = 0.5
STOPPED_AFTER = 5  # steps, in the run that is resumed


class Saver:
    """Keeps a state as the worker does, through safetensors and JSON."""

    def __init__(self) -> None:
        self.state: State | None = None

    def found(self) -> State | None:
        """Return what `leave` was given."""
        return self.state

    def offer(self, state: Callable[[], State]) -> None:
        """Save nothing before it is told to."""

    def leave(self, state: Callable[[], State]) -> None:
        """Keep the state as it would be read from files."""
        made = state()
        kept = {name: _read_back(tensors) for name, tensors in made.kept.items()}
        self.state = State(json.loads(json.dumps(made.values)), _read_back(made.tensors), kept)


def _read_back(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return load(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})) if tensors else {}


def whole_images(setup: Setup) -> Facts:
    """The demo's backbone, drawings and pool."""
    references, candidates = emoji_items(setup.size(40, 8))
    backbone = emoji(setup.device)
    return _whole(setup, "images", backbone, backbone.encode(references), backbone.encode(candidates))


def whole_texts(setup: Setup) -> Facts:
    """A LLaMA of random weights in SmolLM2-135M's shape, and made-up chats."""
    backbone = language(setup.folder, setup.size("135m", "toy"), setup.device)
    candidates = text_items(setup.size(40, 10), 1)
    return _whole(setup, "texts", backbone, backbone.encode(text_items(6)), backbone.encode(candidates))


def _whole(setup: Setup, kind: Kind, backbone: AnyBackbone, batch: Batch, pool: Batch) -> Facts:
    p = parameters(kind, **SMALL)
    _, surrogate = drained(albat.train_surrogate(backbone, batch, p))
    assert surrogate is not None
    sources = [f"s{i % 5}" for i in range(count(pool))]
    _, scoring = drained(albat.score_candidates(backbone, surrogate, batch, pool, p, sources))
    assert scoring is not None
    chosen = take(pool, torch.tensor(scoring.selection.indices))
    mixed = Protection(GAMMA, examples=chosen)
    train = partial(albat.train_adapter, backbone, batch, mixed, p, surrogate.curves, chosen)
    snapshots: dict[int, Adapter] = {}
    steps, outcome = drained(train(snapshots=snapshots))
    assert outcome is not None
    found: Facts = {"gamma": scoring.gamma.gamma, "first and last loss": [steps[0].loss[0], steps[-1].loss[0]]}
    found |= _repeated(train, steps, outcome.published_step) | _stacked(backbone, batch)
    published = snapshots[outcome.published_step]
    found |= _exported(backbone, published, batch, Path(tempfile.mkdtemp(dir=setup.folder)))
    with backbone.lora.use(published.to(backbone.device)):
        return found | {"sampled": str(backbone.sample(["emoji of a cat"], seed=0)[0])[:80]}


def _repeated(train: Callable[..., Any], steps: list[Step], published: int) -> Facts:
    """Compare a second run, and one that was stopped and resumed, with the first."""
    again, _ = drained(train(snapshots={}))
    saver = Saver()
    drained(train(snapshots={}, keeper=saver), until=STOPPED_AFTER)
    rest, resumed = drained(train(snapshots={}, keeper=saver))
    assert resumed is not None
    first, second, third = (torch.tensor([step.loss[0] for step in some]) for some in (steps, again, rest))
    other = "other length"
    return {
        "same twice": off(second, first) if len(second) == len(first) else other,
        "resumed": off(third, first[STOPPED_AFTER:]) if len(third) == len(first) - STOPPED_AFTER else other,
        "published": [published, resumed.published_step],
    }


def _stacked(backbone: AnyBackbone, batch: Batch) -> Facts:
    """Compare stacked folds with separate runs, and a batch in pieces with the whole."""

    def losses(seeds: range, pieces: int = 1) -> Tensor:
        batches = SideBySide([stream(backbone, batch, 2, seed) for seed in seeds])
        adapter = backbone.lora.new(4, 4.0, runs=len(seeds))
        steps = Training(backbone, adapter, batches, learning_rate=1e-3, max_steps=9, pieces=pieces)
        return torch.tensor([next(steps).loss for _ in range(3)])

    together = losses(range(3))
    apart = torch.cat([losses(range(seed, seed + 1)) for seed in range(3)], 1)
    whole, pieces = off(together, apart), off(losses(range(3), pieces=2), together)
    return {"stacked against apart": whole, "in pieces against whole": pieces}


def _exported(backbone: AnyBackbone, published: Adapter, batch: Batch, folder: Path) -> Facts:
    """Write and check every format; each says how far its file is off, or why it failed."""
    witness = Witness(backbone, published, batch, backbone.fixed_draws(1, count(batch), 0)[0])
    modules: list[tuple[Any, Path, tuple[object, ...]]] = [(peft, folder / "peft", ("x", {}))]
    if isinstance(backbone, DiffusionBackbone):
        modules += [(diffusers, folder / diffusers.FILE, ("x", {})), (kohya, folder / kohya.FILE, ({},))]
    else:
        modules.append((gguf, folder / gguf.FILE, ("x", {})))
    errors = {}
    for module, path, more in modules:
        write = partial(module.write, backbone, published, path, *more)
        errors[module.__name__.rpartition(".")[2]] = _written(write, partial(module.verify, witness, path))
    source = _stored(witness, folder / "source")
    write, verify = (
        partial(merged.write, witness, source, folder / "merged"),
        partial(merged.verify, witness, source, folder / "merged"),
    )
    return {"witness on": str(witness.device), "export errors": errors | {"merged": _written(write, verify)}}


def _stored(witness: Witness, folder: Path) -> Path:
    """Write a backbone's network as its files would hold it; return the backbone's folder."""
    network = cast(Any, witness.fresh())
    network.save_pretrained(merged.network_folder(witness, folder))
    return folder


def _written(write: Callable[[], object], verify: Callable[[], float]) -> float | str:
    try:
        write()
        return verify()
    except Exception as error:  # the other formats are still worth knowing
        return f"{type(error).__name__}: {str(error)[:300]}"
